// Keys for the whole page. They do nothing while the reader types, or where a control uses the key itself.

import { $ } from "./dom.js";

export function listenToKeys({ list, pause }) {
  $("#help").addEventListener("click", () => $("#keys").showModal());
  $("#keys-close").addEventListener("click", () => $("#keys").close());
  document.addEventListener("keydown", (event) => {
    const { target, key } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input, textarea, select")) {
      if (key === "Escape") target.blur();
      return;
    }
    const row = target.closest("#list .row");
    const control = !row && target.closest("button, a, summary, svg, pre");
    const act = {
      "/": () => $("#search").focus(),
      "?": () => $("#keys").showModal(),
      j: () => list.move(1),
      k: () => list.move(-1),
      " ": control ? null : pause,
      Enter: control ? null : () => list.toggleSelected(),
    }[key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
