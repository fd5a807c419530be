// What comes next, on the PC: how one gets picoformer, and its documents.

import { commands, el } from "./dom.js";

const told = (name) => document.querySelector(`meta[name=${name}]`).content;

/** Fill the page's last part, with what its host has told. */
export function next() {
  const node = (id) => document.getElementById(id);
  const repository = told("repository");
  node("get").append(...getting(repository));
  const two = "picoformer convert CHECKPOINT -o mine.pft\npicoformer deploy mine.pft";
  node("own-model").append(commands(two));
  if (repository) {
    node("documents").hidden = false;
    for (const link of node("documents").querySelectorAll("a")) {
      link.href = `${repository}/blob/HEAD/${link.getAttribute("href")}`;
    }
  }
}

function getting(repository) {
  if (told("here")) {
    return [el("p", {}, "picoformer is on this computer already: it serves this page.")];
  }
  const from = el("p", {}, "picoformer is a Python package, for Linux and macOS. ",
    ...(repository ? ["Get it from ", el("a", { href: repository }, "its repository"), ":"]
      : ["In a clone of its repository:"]));
  const clone = repository ? `git clone ${repository} picoformer\ncd picoformer\n` : "";
  return [from, commands(`${clone}pip install .`),
    el("p", { class: "soft" }, "make demo, in the same place, needs no board: it emulates one.")];
}
