// The counters as a table with a bar for each kind's share.

import { draw, make, say } from "./dom.js";
import { isError, splitKind } from "./kinds.js";
import { count } from "./times.js";

export class Counters {
  constructor(body) {
    this.body = body;
    this.rows = new Map();
  }

  show(counters) {
    const total = Object.values(counters).reduce((sum, number) => sum + number, 0);
    for (const [kind, { row }] of [...this.rows].filter(([one]) => !(one in counters))) {
      row.remove();
      this.rows.delete(kind);
    }
    for (const kind of Object.keys(counters).sort()) {
      if (!this.rows.has(kind)) this.add(kind);
      const { number, bar, title } = this.rows.get(kind);
      const share = total ? (counters[kind] / total) * 100 : 0;
      say(number, count(counters[kind]));
      bar.setAttribute("width", share.toFixed(2));
      say(title, `${share.toFixed(1)} % of all events`);
    }
  }

  add(kind) {
    const failed = isError(splitKind(kind)?.action);
    const number = make("td", { class: "number" });
    const title = draw("title");
    const bar = draw("rect", { height: 10, width: 0, rx: 1 });
    const svg = draw("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", role: "img" }, title, bar);
    const row = make("tr", { "data-kind": kind, class: failed ? "error" : "" },
      make("th", { scope: "row" }, failed ? `✕ ${kind}` : kind), number, make("td", {}, svg));
    const next = [...this.rows].filter(([other]) => other > kind).sort(([a], [b]) => (a < b ? -1 : 1))[0];
    this.body.insertBefore(row, next ? next[1].row : null);
    this.rows.set(kind, { row, number, bar, title });
  }
}
