// Events over time: stacked bars by action, errors on top; a span is selected by dragging or with the keyboard.

import { buckets, ticks } from "./buckets.js";
import { draw } from "./dom.js";
import { ACTIONS, ERRORS } from "./kinds.js";
import { MINUTE, clock, count, offset, plural, shortDay, tick, toText } from "./times.js";

const HEIGHT = 132;
const TOP = 16;
const BASE = 108;
const LEFT = 34;

export class Timeline {
  // `onSelect("start,end")` is called with a window as the server takes it.
  constructor(node, note, onSelect) {
    this.node = node;
    this.note = note;
    this.onSelect = onSelect;
    this.cursor = null;
    node.addEventListener("pointerdown", (event) => this.begin(event));
    node.addEventListener("pointermove", (event) => this.drag(event));
    node.addEventListener("pointerup", (event) => this.end(event));
    node.addEventListener("pointercancel", () => this.clear());
    node.addEventListener("keydown", (event) => this.key(event));
  }

  show(items, zone) {
    const width = Math.max(280, this.node.clientWidth || 900);
    this.zone = zone;
    this.node.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const times = items.map(({ ms }) => ms).filter((ms) => !Number.isNaN(ms));
    if (!times.length) {
      this.data = null;
      this.node.replaceChildren();
      return;
    }
    const from = times.reduce((a, b) => Math.min(a, b));
    const to = times.reduce((a, b) => Math.max(a, b));
    this.data = buckets(items, from, to, Math.floor((width - LEFT) / 9));
    this.scale = (width - LEFT) / (this.data.to - this.data.from);
    this.node.replaceChildren(...this.axes(width), ...this.bars(), this.selection());
    this.node.setAttribute("aria-label", `${plural(items.length, "event")} from ${this.at(from)} to ${this.at(to)}, bars of ${this.data.width / 1000} s`);
  }

  at(ms) {
    return `${shortDay(ms, this.zone)} ${clock(ms, this.zone)}`;
  }

  x(ms) {
    return LEFT + (ms - this.data.from) * this.scale;
  }

  axes(width) {
    const { from, to, highest } = this.data;
    const nodes = [];
    for (const part of [1, 0.5]) {
      const y = BASE - (BASE - TOP) * part;
      const value = highest * part;
      if (!Number.isInteger(value)) continue;
      nodes.push(draw("line", { x1: LEFT, x2: width, y1: y, y2: y, class: "rule" }));
      nodes.push(draw("text", { x: LEFT - 6, y: y + 4, class: "axis end" }, count(value)));
    }
    nodes.push(draw("line", { x1: LEFT, x2: width, y1: BASE, y2: BASE, class: "base" }));
    const marks = ticks(from, to, Math.max(2, Math.floor(width / 110)), offset(from, this.zone));
    for (const ms of marks.at) {
      const x = this.x(ms);
      nodes.push(draw("line", { x1: x, x2: x, y1: BASE, y2: BASE + 5, class: "base" }));
      const place = x > width - 26 ? "axis end" : x < LEFT + 20 ? "axis" : "axis middle";
      nodes.push(draw("text", { x, y: BASE + 19, class: place }, tick(ms, this.zone, Math.min(marks.width, marks.width < MINUTE ? 1000 : marks.width))));
    }
    return nodes;
  }

  bars() {
    const { bars, width, highest } = this.data;
    const thick = Math.max(1, width * this.scale - 1.5);
    const unit = (BASE - TOP) / Math.max(1, highest);
    return bars.filter(({ total }) => total).map((bar) => {
      const group = draw("g", {});
      let y = BASE;
      for (const action of ACTIONS) {
        const number = bar.counts[action];
        if (!number) continue;
        const high = Math.max(number * unit, ERRORS.includes(action) ? 3 : 0);
        y -= high;
        group.append(draw("rect", { x: this.x(bar.start), y, width: thick, height: high, class: `bar ${ERRORS.includes(action) ? "error" : action}` }));
      }
      const failed = ERRORS.reduce((sum, action) => sum + (bar.counts[action] ?? 0), 0);
      if (failed) group.append(draw("text", { x: this.x(bar.start) + thick / 2, y: Math.max(9, y - 4), class: "cross" }, "✕"));
      const told = ACTIONS.filter((action) => bar.counts[action]).map((action) => `${action} ${bar.counts[action]}`);
      group.append(draw("title", {}, `${this.at(bar.start)}\n${told.join("\n")}`));
      return group;
    });
  }

  selection() {
    this.box = draw("rect", { y: TOP - 8, height: BASE - TOP + 8, width: 0, class: "brush" });
    if (this.cursor) this.mark();
    return this.box;
  }

  // The bar under a pointer.
  under(event) {
    const box = this.node.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.node.viewBox.baseVal.width;
    const at = Math.floor((x - LEFT) / (this.scale * this.data.width));
    return Math.min(Math.max(at, 0), this.data.bars.length - 1);
  }

  begin(event) {
    if (!this.data || event.button !== 0) return;
    const bar = this.under(event);
    this.cursor = { from: this.data.bars[bar].start, to: this.data.bars[bar].start };
    this.dragging = true;
    this.node.setPointerCapture(event.pointerId);
    this.mark();
  }

  drag(event) {
    if (!this.dragging || !this.data) return;
    this.cursor.to = this.data.bars[this.under(event)].start;
    this.mark();
  }

  end(event) {
    if (!this.dragging) return;
    this.drag(event);
    this.choose();
  }

  span() {
    const { from, to } = this.cursor;
    return [Math.min(from, to), Math.max(from, to) + this.data.width];
  }

  mark() {
    const [from, to] = this.span();
    this.box.setAttribute("x", this.x(from));
    this.box.setAttribute("width", (to - from) * this.scale);
    const inside = this.data.bars.filter(({ start }) => start >= from && start < to);
    this.note.textContent = `${this.at(from)} to ${this.at(to)}: ${plural(inside.reduce((sum, { total }) => sum + total, 0), "event")}`;
  }

  choose() {
    const [from, to] = this.span();
    this.clear();
    this.onSelect(`${toText(from)},${toText(to)}`);
  }

  clear() {
    this.dragging = false;
    this.cursor = null;
    this.note.textContent = "";
    this.box?.setAttribute("width", 0);
  }

  key(event) {
    if (!this.data) return;
    const { bars, width } = this.data;
    const step = { ArrowLeft: -width, ArrowRight: width }[event.key];
    if (step) {
      event.preventDefault();
      const last = bars.at(-1).start;
      const to = this.cursor ? Math.min(Math.max(this.cursor.to + step, bars[0].start), last) : last;
      this.cursor = { from: event.shiftKey && this.cursor ? this.cursor.from : to, to };
      this.mark();
    } else if (event.key === "Enter" && this.cursor) {
      event.preventDefault();
      this.choose();
    } else if (event.key === "Escape") {
      this.clear();
    }
  }
}
