// In the place of Web Serial: a port whose bytes go to the tests' server and come from there.

(() => {
  const lost = (text) => new DOMException(text, "NetworkError");

  class Port extends EventTarget {
    #open = false;

    getInfo() {
      return { usbVendorId: 0x2e8a, usbProductId: 0x0005 };
    }

    async #ask(what, body) {
      const answer = await fetch(`/serial/${what}`, { method: "POST", body });
      if (!answer.ok) {
        throw lost("The device has been lost.");
      }
      return new Uint8Array(await answer.arrayBuffer());
    }

    async open() {
      await this.#ask("open").catch(() => {
        throw lost("Failed to open serial port.");
      });
      this.#open = true;
      const pull = async (control) => {
        let data = new Uint8Array();
        while (this.#open && !data.length) {
          try {
            data = await this.#ask("read");
          } catch (error) {
            this.readable = null;
            control.error(error);
            return;
          }
        }
        if (this.#open) {
          control.enqueue(data);
        }
      };
      const cancel = () => {
        this.#open = false;
      };
      this.readable = new ReadableStream({ pull, cancel }, { highWaterMark: 0 });
      this.writable = new WritableStream({ write: (chunk) => this.#ask("write", chunk) });
    }

    async close() {
      this.#open = false;
      await this.#ask("close").catch(() => {});
      this.readable = this.writable = null;
    }
  }

  const serial = new EventTarget();
  const port = new Port();
  serial.getPorts = async () => [];
  serial.requestPort = async () => {
    if (globalThis.nothingChosen) {
      throw new DOMException("No port selected by the user.", "NotFoundError");
    }
    return port;
  };
  Object.defineProperty(navigator, "serial", { value: serial, configurable: true });
})();
