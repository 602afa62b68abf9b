// Coverage as grids: a row per stage, a column per window, a sign and a colour per cell.

import { make, say } from "./dom.js";
import { tally } from "./coverage.js";
import { MINUTE, clock, count, duration, lengthName, plural, shortDay, windowName } from "./times.js";

// Columns that are shown of a group; the older ones are in the log.
const MOST = 120;

const SIGNS = { done: "", recovered: "↻", failed: "✕", missing: "?", due: "·", none: "" };
const WORDS = { done: "done", recovered: "recovered", failed: "failed", missing: "missing", due: "not yet due", none: "not expected" };

// The grids of all categories, one for each length of windows. `onChoose(category, window)` is called for a cell.
export class Grids {
  constructor(node, onChoose) {
    this.node = node;
    this.onChoose = onChoose;
    this.all = new Map();
  }

  // Show what `coverage` found, in the given order of categories.
  show(groups, order, zone) {
    const used = new Set();
    for (const { length, windows, categories } of groups) {
      for (const { name, rows } of categories) {
        const key = `${name} ${length}`;
        used.add(key);
        if (!this.all.has(key)) this.all.set(key, this.add(name, length, order));
        this.all.get(key).show(rows, windows, zone);
      }
    }
    for (const [key, { node }] of this.all) node.hidden = !used.has(key);
  }

  add(name, length, order) {
    const grid = new Grid(name, length, this.onChoose);
    const groups = this.groups(name, order);
    const next = [...groups.children].find(({ dataset }) => Number(dataset.length) > length);
    groups.insertBefore(grid.node, next ?? null);
    return grid;
  }

  // Where the grids of a category are.
  groups(name, order) {
    const boxes = [...this.node.children];
    const found = boxes.find(({ dataset }) => dataset.category === name);
    if (found) return found.lastChild;
    const groups = make("div", { class: "groups" });
    const box = make("section", { class: "category", "data-category": name, "aria-label": name }, make("h3", {}, name), groups);
    const next = boxes.find(({ dataset }) => order.indexOf(dataset.category) > order.indexOf(name));
    this.node.insertBefore(box, next ?? null);
    return groups;
  }
}

// One grid, made once and then changed in place, so that nothing moves when events arrive.
class Grid {
  constructor(category, length, onChoose) {
    this.name = `${category}, ${lengthName(length)} sets`;
    this.category = category;
    this.onChoose = onChoose;
    this.summary = make("p", { class: "summary" });
    this.head = make("tr", {}, make("td", { class: "corner" }));
    this.body = make("tbody");
    this.table = make("table", { class: "grid", role: "grid", "aria-label": this.name }, make("thead", { "aria-hidden": "true" }, this.head), this.body);
    this.scroller = make("div", { class: "scroller" }, this.table);
    this.node = make("section", { class: "group", "data-length": length }, make("h4", {}, `${lengthName(length)} sets`), this.summary, this.scroller);
    this.rows = new Map();
    this.columns = 0;
    this.at = { row: 0, column: -1 };
    this.table.addEventListener("keydown", (event) => this.move(event));
    this.table.addEventListener("click", (event) => {
      const cell = event.target.closest("button");
      if (cell?.window) this.onChoose(this.category, cell.window);
    });
  }

  show(rows, windows, zone) {
    const counts = tally(rows);
    const parts = ["failed", "missing", "recovered", "due"].filter((state) => counts[state]);
    this.summary.replaceChildren(...(counts.failed + counts.missing ? [] : [make("span", { class: "mark done" }, "✓ complete")]),
      ...parts.map((state) => make("span", { class: `mark ${state}` }, `${SIGNS[state]} ${count(counts[state])} ${WORDS[state]}`)),
      make("span", { class: "quiet" }, `${count(counts.done + counts.recovered)} done in ${plural(windows.length, "window")}`));
    const from = Math.max(0, windows.length - MOST);
    this.windows = windows.slice(from);
    const atEnd = this.scroller.scrollLeft + this.scroller.clientWidth >= this.scroller.scrollWidth - 4;
    this.resize(rows);
    this.label(zone);
    for (const { stage, cells } of rows) {
      const row = this.rows.get(stage);
      cells.slice(from).forEach((cell, column) => this.paint(row[column], cell, stage, this.windows[column], zone));
    }
    if (atEnd || !this.shown) this.scroller.scrollLeft = this.scroller.scrollWidth;
    this.shown = true;
  }

  resize(rows) {
    if (!this.rows.size) {
      for (const { stage } of rows) {
        this.rows.set(stage, []);
        this.body.append(make("tr", {}, make("th", { scope: "row" }, stage)));
      }
    }
    const columns = this.windows.length;
    for (; this.columns < columns; this.columns += 1) {
      this.head.append(make("td", {}, make("span")));
      [...this.rows.values()].forEach((cells, at) => {
        const button = make("button", { type: "button", tabindex: -1 });
        cells.push(button);
        this.body.children[at].append(make("td", { role: "gridcell" }, button));
      });
    }
    for (; this.columns > columns; this.columns -= 1) {
      this.head.lastChild.remove();
      [...this.rows.values()].forEach((cells, at) => { cells.pop(); this.body.children[at].lastChild.remove(); });
    }
    if (this.at.column < 0 || this.at.column >= columns) this.at.column = columns - 1;
    const current = this.cell();
    if (current) current.tabIndex = 0;
  }

  // A time over every few columns, on the round ones.
  label(zone) {
    const length = this.windows.length ? this.windows[0].end - this.windows[0].start : MINUTE;
    const daily = length >= 20 * 3_600_000;
    const every = daily ? 7 : length < MINUTE ? 6 : length < 60 * MINUTE ? 5 : 6;
    this.windows.forEach(({ start, skipped }, column) => {
      const round = daily ? column % every === 0 : Math.round(start / length) % every === 0;
      const text = skipped ? "⋯" : round ? (daily ? shortDay(start, zone) : clock(start, zone, false)) : "";
      say(this.head.children[column + 1].firstChild, text);
    });
  }

  paint(button, cell, stage, window, zone) {
    button.window = window;
    if (button.className !== cell.state) button.className = cell.state;
    say(button, cell.skipped ? "⋯" : SIGNS[cell.state]);
    const about = describe(cell, stage, window, zone);
    if (button.title !== about) {
      button.title = about;
      button.setAttribute("aria-label", about);
    }
  }

  cell() {
    return [...this.rows.values()][this.at.row]?.[this.at.column];
  }

  move(event) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const current = this.cell();
    if (current) current.tabIndex = -1;
    this.at.row = Math.min(Math.max(this.at.row + step[0], 0), this.rows.size - 1);
    this.at.column = Math.min(Math.max(this.at.column + step[1], 0), this.columns - 1);
    this.cell().tabIndex = 0;
    this.cell().focus();
  }
}

// What a cell tells in words: state, when, how often, how much, and the error.
export function describe(cell, stage, window, zone) {
  const where = `${stage}, ${windowName(window.start, window.end, zone)}`;
  if (cell.skipped) return `${where}: no events for ${plural(cell.skipped, "window")}`;
  const facts = [`${where}: ${WORDS[cell.state]}`];
  if (cell.times) {
    facts.push(`${cell.times > 1 ? `${count(cell.times)} times, last ` : ""}at ${clock(cell.at, zone)}`);
    if (cell.size !== undefined) facts.push(plural(cell.size, "record"));
  }
  if (cell.error !== undefined) facts.push(`error at ${clock(cell.failedAt, zone)}: ${cell.error}`);
  if (cell.state === "due") facts.push(`late in ${duration(Math.max(0, cell.due - Date.now()))}`);
  return facts.join(" · ");
}
