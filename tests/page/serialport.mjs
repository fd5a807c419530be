// An object like a SerialPort of Web Serial, over a TCP socket of this computer.

import { connect } from "node:net";

export class SocketPort extends EventTarget {
  constructor(port) {
    super();
    this.port = port;
    this.readable = this.writable = null;
    this.sent = 0; // bytes, to the board
    this.cutAt = Infinity; // the number of a byte behind which the cable is pulled
    this.resetAt = null; // and of one behind which the board is reset
  }

  async open({ baudRate }) {
    if (!baudRate) throw new TypeError("no baudRate");
    if (this.readable) throw new DOMException("The port is already open.", "InvalidStateError");
    const socket = connect(this.port, "127.0.0.1");
    this.socket = socket;
    try {
      await new Promise((ok, fail) => socket.once("connect", ok).once("error", fail));
    } catch {
      throw new DOMException("Failed to open serial port.", "NetworkError");
    }
    socket.setNoDelay();
    let control;
    const lost = () => new DOMException("The device has been lost.", "NetworkError");
    const end = () => {
      try {
        control.error(lost());
      } catch {
        // it was cancelled
      }
    };
    socket.on("error", end).on("close", end);
    this.readable = new ReadableStream({
      start(c) {
        control = c;
        socket.on("data", (data) => {
          try {
            c.enqueue(new Uint8Array(data));
          } catch {
            // nobody listens
          }
        });
      },
    });
    this.writable = new WritableStream({
      write: (data) => {
        const some = data.subarray(0, Math.max(this.cutAt - this.sent, 0));
        this.sent += data.length;
        if (this.resetAt !== null && this.sent > this.resetAt) {
          this.resetAt = Infinity;
          data = new Uint8Array([13, 3, 3, 13, 2, 4]); // Ctrl-C, and a soft reset from the prompt
        }
        if (some.length < data.length) {
          socket.write(some, () => this.pull());
          throw lost();
        }
        return new Promise((ok, fail) => socket.write(data, (e) => (e ? fail(lost()) : ok())));
      },
    });
  }

  /** Pull the cable. */
  pull() {
    this.socket.destroy();
    this.dispatchEvent(new Event("disconnect"));
  }

  async close() {
    this.readable = this.writable = null;
    await new Promise((done) => this.socket.destroyed ? done() : this.socket.end(done));
    this.socket.destroy();
  }
}
