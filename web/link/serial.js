// Web Serial: the ports that boards are on. The only module of the link that needs a browser.

import { PageError } from "../errors.js";

/** Boards, and the USB chips in front of those that have none of their own, by their USB numbers.
 * @type {{vendor: number, product?: number, name: string}[]} */
export const BOARDS = [
  { vendor: 0x2e8a, product: 0x0005, name: "Raspberry Pi Pico" },
  { vendor: 0x2e8a, name: "RP2040 or RP2350" },
  { vendor: 0x303a, product: 0x1001, name: "ESP32 (USB of its own)" },
  { vendor: 0x303a, product: 0x4001, name: "ESP32-S2 or S3" },
  { vendor: 0x303a, name: "ESP32" },
  { vendor: 0xf055, name: "Pyboard or another MicroPython board" },
  { vendor: 0x10c4, product: 0xea60, name: "CP210x (ESP32 boards)" },
  { vendor: 0x1a86, name: "CH340, CH9102 (ESP32 boards)" },
  { vendor: 0x0403, name: "FTDI (ESP32 boards)" },
  { vendor: 0x239a, name: "Adafruit" },
  { vendor: 0x2341, name: "Arduino" },
  { vendor: 0x2886, name: "Seeed" },
  { vendor: 0x1b4f, name: "SparkFun" },
  { vendor: 0x0483, name: "ST (Nucleo, Discovery)" },
  { vendor: 0x1fc9, name: "NXP" },
  { vendor: 0x0d28, name: "Arm DAPLink" },
];

/** Why this browser cannot connect, "" where it can. @returns {string} */
export function unsupported() {
  const nav = globalThis.navigator;
  if (nav?.serial) return "";
  const otherwise = " Everything without a board works here; with one, use picoformer on the " +
    "PC: picoformer deploy MODEL.pft.";
  if (globalThis.isSecureContext === false) {
    return "A browser gives serial ports only to pages that come by https, or from this " +
      "computer: open this page by https://, or by picoformer page." + otherwise;
  }
  return "This browser cannot talk to boards: it has no Web Serial. Chrome, Edge and Opera on a " +
    "computer have it." + otherwise;
}

/**
 * Let the user choose a port; call it from a click.
 * @param {{all?: boolean}} [options] all: not only the ports of boards that we know
 * @returns {Promise<any>} a SerialPort
 */
export async function choosePort({ all = false } = {}) {
  const why = unsupported();
  if (why) throw new PageError(why, { code: "unsupported" });
  const filters = BOARDS.map(({ vendor, product }) => (
    product === undefined ? { usbVendorId: vendor }
      : { usbVendorId: vendor, usbProductId: product }));
  try {
    return await navigator.serial.requestPort(all ? {} : { filters });
  } catch (cause) {
    if (cause?.name === "NotFoundError") {
      throw new PageError(
        "No port was chosen. If your board was not in the list: plug it in with a cable that " +
          "carries data, with MicroPython on it, or choose among all ports.",
        { code: "cancelled", cause },
      );
    }
    throw new PageError(`The browser does not show its serial ports: ${cause?.message ?? cause}`, {
      code: "port",
      cause,
    });
  }
}

/** Ports that this page was given before and that are there now. @returns {Promise<any[]>} */
export async function knownPorts() {
  return unsupported() ? [] : navigator.serial.getPorts();
}

/** What is on a port, by its USB numbers. @param {any} port a SerialPort @returns {string} */
export function nameOf(port) {
  const { usbVendorId, usbProductId } = port.getInfo?.() ?? {};
  const found = BOARDS.find((b) => b.vendor === usbVendorId
    && (b.product === undefined || b.product === usbProductId));
  return found?.name ?? "a serial port";
}
