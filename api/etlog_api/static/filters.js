// The filters above the log: named windows, a field for any other, kinds and categories with their counts.

import { $, make, say } from "./dom.js";
import { ACTIONS, isError, splitKind } from "./kinds.js";
import { passes } from "./model.js";
import { count } from "./times.js";

const NAMED = ["", "15m", "1h", "24h", "7d", "today", "yesterday", "week", "lastweek", "month", "lastmonth"];

// `change(part)` is called with what becomes different in the view.
export class Filters {
  constructor(change) {
    this.change = change;
    $("#windows").append(...NAMED.map((name) => make(
      "button", { type: "button", "data-window": name, onclick: () => change({ window: name }) }, name || "all",
    )));
    $("#filters").addEventListener("submit", (event) => event.preventDefault());
    $("#window").addEventListener("change", (event) => change({ window: event.target.value.trim() }));
    $("#window").addEventListener("keydown", (event) => {
      if (event.key === "Enter") change({ window: event.target.value.trim() });
    });
    $("#search").addEventListener("input", (event) => change({ q: event.target.value }));
    $("#unset").addEventListener("click", () => change({ set: "" }));
    this.chips = new Map();
  }

  show(view, model, refusal, setName) {
    for (const button of $("#windows").children) button.setAttribute("aria-pressed", button.dataset.window === view.window);
    for (const [selector, text] of [["#window", view.window], ["#search", view.q]]) {
      if (document.activeElement !== $(selector)) $(selector).value = text;
    }
    $("#window").setAttribute("aria-invalid", Boolean(refusal));
    $("#window-error").hidden = !refusal;
    say($("#window-error"), refusal ?? "");
    $("#chosen").hidden = !view.set;
    say($("#chosen").firstChild, view.set ? `Only events of ${setName}` : "");
    this.showChips(view, model);
  }

  showChips(view, model) {
    for (const [category, items] of model.categories) {
      if (!this.chips.has(category)) this.addCategory(category);
      const { row, all, kinds } = this.chips.get(category);
      const counts = {};
      for (const item of items) if (passes(item, { ...view, category: "" }, "kinds")) counts[item.kind] = (counts[item.kind] ?? 0) + 1;
      all.setAttribute("aria-pressed", view.category === category);
      const known = new Set([...items.map(({ kind }) => kind), ...view.kinds.filter((kind) => model.prefixes.get(splitKind(kind)?.prefix) === category)]);
      for (const kind of Object.keys(model.counters)) {
        if (model.prefixes.get(splitKind(kind)?.prefix) === category) known.add(kind);
      }
      for (const kind of known) if (!kinds.has(kind)) this.addKind(kinds, row, kind);
      for (const [kind, { chip, number }] of kinds) {
        chip.setAttribute("aria-pressed", view.kinds.some((text) => kind.includes(text)));
        say(number, count(counts[kind] ?? 0));
      }
    }
  }

  addCategory(category) {
    const all = make("button", {
      type: "button", class: "chip category", "data-category": category,
      onclick: () => this.change((view) => ({ category: view.category === category ? "" : category })),
    }, category);
    const row = make("div", { class: "chips", role: "group", "aria-label": `Kinds of ${category}` }, all);
    $("#chips").append(row);
    this.chips.set(category, { row, all, kinds: new Map() });
  }

  addKind(kinds, row, kind) {
    const action = splitKind(kind)?.action ?? kind;
    const number = make("span", { class: "count" });
    const toggle = (view) => ({
      kinds: view.kinds.includes(kind) ? view.kinds.filter((one) => one !== kind) : [...view.kinds, kind],
    });
    const chip = make("button", {
      type: "button", class: `chip ${isError(action) ? "error" : ""}`, "data-kind": kind, onclick: () => this.change(toggle),
    }, isError(action) ? `✕ ${action}` : action, " ", number);
    kinds.set(kind, { chip, number });
    const rank = (one) => ACTIONS.indexOf(splitKind(one)?.action);
    const after = [...kinds.keys()].filter((one) => rank(one) > rank(kind)).sort((a, b) => rank(a) - rank(b))[0];
    row.insertBefore(chip, after ? kinds.get(after).chip : null);
  }
}
