// A button that takes a file.

import { el, fresh } from "./dom.js";

/**
 * @param {string} label
 * @param {string} accept
 * @param {(file: File) => void} take
 * @returns {Node}
 */
export function fileButton(label, accept, take) {
  const id = fresh("file");
  const input = el("input", {
    id, type: "file", accept, class: "hidden",
    change: () => {
      const [file] = input.files;
      input.value = "";
      if (file) {
        take(file);
      }
    },
  });
  return el("label", { class: "button", for: id }, label, input);
}
