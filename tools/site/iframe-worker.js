// From a folder on a disk a browser starts no workers: there, a frame that is not shown does the
// search's work. Zensical would load such a file from the network, were none named so.
if (location.protocol === "file:") {
    window.Worker = class extends EventTarget {
        constructor(url) {
            super();
            this.onmessage = this.onerror = this.onmessageerror = null;
            this.waiting = []; // what is said before the script is there
            this.frame = document.createElement("iframe");
            this.frame.hidden = true;
            document.documentElement.append(this.frame);
            const inside = this.frame.contentWindow;
            inside.postMessage = (data) => this.tell("message", { data });
            const script = inside.document.createElement("script");
            script.src = url;
            script.onload = () => {
                const waiting = this.waiting;
                this.waiting = null;
                for (const data of waiting) this.postMessage(data);
            };
            script.onerror = () => this.tell("error", {});
            inside.document.body.append(script);
        }

        tell(type, values) {
            const event = Object.assign(new Event(type), values);
            this[`on${type}`]?.(event);
            this.dispatchEvent(event);
        }

        postMessage(data) {
            if (this.waiting) this.waiting.push(data);
            else setTimeout(() => this.frame.contentWindow?.onmessage?.({ data }));
        }

        terminate() {
            this.frame.remove();
        }
    };
}
