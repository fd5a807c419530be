// A picture: drawn, or from a file, scaled to what the model reads.

import { PageError } from "../errors.js";
import { el, words } from "./dom.js";
import { fileButton } from "./files.js";
import { convert, looksNegative, resize } from "./pixels.js";

const LARGEST = 4096; // pixels on a side, of a picture that is read exactly where it has alpha
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class PictureInput {
  quick = true;

  constructor(about, get) {
    this.shape = about.image;
    this.known = about.meta?.pixels;
    this.get = get;
    const [height, width, channels] = this.shape;
    this.pixels = new Uint8Array(height * width * channels);
    this.at = [width >> 1, height >> 1];
    this.canvas = el("canvas", {
      class: "pixels", width, height, tabindex: 0, role: "img",
      "aria-label": `Picture of ${width} x ${height} pixels. Draw with a finger or the mouse, or ` +
        "with the arrow keys and the space bar.",
    });
    this.note = el("p", { class: "note", role: "status" });
    this.error = el("p", { class: "error", role: "alert" });
    const gray = channels === 1 ? "gray" : "colour";
    this.node = el(
      "div",
      { class: "picture" },
      this.canvas,
      el(
        "div",
        { class: "side flow" },
        el("p", {}, "Draw, or choose a picture:"),
        el(
          "div",
          { class: "row" },
          fileButton("Choose a picture …", "image/*", (file) => this.drop(file)),
          el("button", { type: "button", click: () => this.invert() }, "Invert"),
          el("button", { type: "button", click: () => this.clear() }, "Clear"),
        ),
        el("p", { class: "note" }, `The model reads ${width} x ${height} pixels in ${gray}; ` +
          "another picture is scaled to that."),
        this.note,
        this.error,
      ),
    );
    this.listen();
    this.show();
  }

  listen() {
    let last = null;
    const place = (event) => {
      const box = this.canvas.getBoundingClientRect();
      const [height, width] = this.shape;
      return [
        ((event.clientX - box.left) / box.width) * width - 0.5,
        ((event.clientY - box.top) / box.height) * height - 0.5,
      ];
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      last = place(event);
      this.line(last, last);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (last) {
        const to = place(event);
        this.line(last, to);
        last = to;
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      this.canvas.addEventListener(end, () => (last = null));
    }
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    for (const change of ["focus", "blur"]) {
      this.canvas.addEventListener(change, () => this.show());
    }
  }

  key(event) {
    const [height, width] = this.shape;
    const move = MOVES[event.key];
    if (move) {
      const [x, y] = [this.at[0] + move[0], this.at[1] + move[1]];
      this.at = [Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y))];
      this.show();
    } else if (event.key === " ") {
      this.line(this.at, this.at);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Paint in white, with a soft edge. */
  line([x0, y0], [x1, y1]) {
    const [height, width, channels] = this.shape;
    const thick = Math.max(0.7, Math.min(height, width) / 28);
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(x1 - x0, y1 - y0)));
    for (let i = 0; i <= steps; i++) {
      const [cx, cy] = [x0 + ((x1 - x0) * i) / steps, y0 + ((y1 - y0) * i) / steps];
      for (let y = Math.floor(cy - thick - 1); y <= cy + thick + 1; y++) {
        for (let x = Math.floor(cx - thick - 1); x <= cx + thick + 1; x++) {
          if (x < 0 || y < 0 || x >= width || y >= height) {
            continue;
          }
          const ink = Math.min(1, Math.max(0, thick + 0.5 - Math.hypot(x - cx, y - cy)));
          for (let c = 0; c < channels; c++) {
            const k = (y * width + x) * channels + c;
            this.pixels[k] = Math.max(this.pixels[k], Math.round(255 * ink));
          }
        }
      }
    }
    this.changed();
  }

  clear() {
    this.pixels.fill(0);
    this.changed();
  }

  invert() {
    this.pixels = this.pixels.map((v) => 255 - v);
    this.changed();
  }

  /** Take a picture's file. */
  async drop(file) {
    try {
      this.error.textContent = "";
      this.pixels = await picture(file, this.shape);
      this.changed();
    } catch (error) {
      this.error.textContent = words(error);
    }
  }

  async fill({ image }) {
    if (image) {
      this.pixels = await picture(new File([await this.get(image)], image), this.shape);
      this.changed();
    }
  }

  value() {
    if (this.pixels.every((v) => v === this.pixels[0])) {
      throw new PageError("Draw something first.", { code: "empty" });
    }
    return this.pixels.slice();
  }

  changed() {
    this.note.textContent = looksNegative(this.pixels, this.shape, this.known)
      ? `Your picture has a ${this.known[0] < 128 ? "bright" : "dark"} background; this model knows ` +
        `${this.known[0] < 128 ? "dark" : "bright"} ones: press Invert.`
      : "";
    this.show();
    this.onchange?.();
  }

  show() {
    const [height, width, channels] = this.shape;
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    for (let i = 0; i < height * width; i++) {
      for (let c = 0; c < 3; c++) {
        image.data[4 * i + c] = this.pixels[i * channels + Math.min(c, channels - 1)];
      }
      image.data[4 * i + 3] = 255;
    }
    if (this.canvas.matches(":focus-visible")) {
      image.data.set([87, 160, 255, 255], 4 * (this.at[1] * width + this.at[0]));
    }
    context.putImageData(image, 0, 0);
  }
}

/**
 * The pixels of a picture's file, of this shape, as the PC reads them.
 * @param {File} file
 * @param {number[]} shape height, width, channels
 */
export async function picture(file, [height, width, channels]) {
  let bitmap;
  let rgba;
  try {
    const asItIs = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    bitmap = await createImageBitmap(file, { ...asItIs, imageOrientation: "from-image" });
    rgba = rgbaOf(bitmap);
  } catch {
    const large = bitmap && `, of ${bitmap.width} x ${bitmap.height} pixels,`;
    throw new PageError(`${file.name}${large ?? ""} is no picture that this browser reads: try a ` +
      `${large ? "smaller one" : "PNG or a JPEG"}.`);
  }
  const pixels = convert(rgba, channels);
  return resize(pixels, bitmap.width, bitmap.height, channels, width, height);
}

function rgbaOf(bitmap) {
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let clear = false;
  for (let i = 3; i < data.length && !clear; i += 4) {
    clear = data[i] < 255;
  }
  return clear && Math.max(width, height) <= LARGEST ? exact(bitmap) ?? data : data;
}

/** Pixels whose colours alpha has not been multiplied into, which a 2D canvas cannot give. */
function exact(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl");
  if (!gl) {
    return null;
  }
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const texture = gl.getParameter(gl.TEXTURE_BINDING_2D);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const out = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, out);
  return out;
}
