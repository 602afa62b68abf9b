// The counters as a table with a bar for each kind's share.

import { $, draw, make, say } from "./dom.js";
import { isError, splitKind } from "./kinds.js";
import { count } from "./times.js";

const rows = new Map();

export function showCounters(counters) {
  const body = $("#counts tbody");
  const total = Object.values(counters).reduce((sum, number) => sum + number, 0);
  for (const kind of [...rows.keys()].filter((one) => !(one in counters))) {
    rows.get(kind).row.remove();
    rows.delete(kind);
  }
  for (const kind of Object.keys(counters).sort()) {
    if (!rows.has(kind)) rows.set(kind, add(body, kind));
    const { number, bar, title } = rows.get(kind);
    const share = total ? (counters[kind] / total) * 100 : 0;
    say(number, count(counters[kind]));
    bar.setAttribute("width", share.toFixed(2));
    say(title, `${share.toFixed(1)} % of all events`);
  }
}

function add(body, kind) {
  const number = make("td", { class: "number" });
  const title = draw("title");
  const bar = draw("rect", { height: 10, width: 0, rx: 1 });
  const svg = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" }, title, bar);
  const row = make("tr", { "data-kind": kind, class: isError(splitKind(kind)?.action) ? "error" : "" },
    make("th", { scope: "row" }, isError(splitKind(kind)?.action) ? `✕ ${kind}` : kind), number, make("td", {}, svg));
  const next = [...rows].filter(([other]) => other > kind).sort(([a], [b]) => (a < b ? -1 : 1))[0];
  body.insertBefore(row, next ? next[1].row : null);
  return { row, number, bar, title };
}
