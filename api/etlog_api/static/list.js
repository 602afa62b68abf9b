// The events as a list that makes only the rows in sight. Rows are reused where they stand, so nothing jumps.

import { $, copy, make, say } from "./dom.js";
import { isError } from "./kinds.js";
import { clock, plural, shortDay, windowName } from "./times.js";

const OVERSCAN = 6;

export class List {
  constructor(node) {
    this.node = node;
    this.room = make("div", { class: "room", role: "list", "aria-label": "Events, newest first" });
    this.node.append(this.room);
    this.slots = [];
    this.items = [];
    this.open = new Map();  // item -> height of its details
    this.selected = null;
    this.zone = undefined;
    this.node.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => { this.measure(); this.render(); }).observe(this.node);
    this.measure();
  }

  measure() {
    this.row = parseFloat(getComputedStyle(this.node).getPropertyValue("--row")) || 36;
  }

  // Show items, the newest first. A reader who is further down, or has details open, keeps what they see in place.
  show(items, zone) {
    this.zone = zone;
    const anchor = this.node.scrollTop > 0 || this.open.size ? this.items[this.indexAt(this.node.scrollTop)] : null;
    const before = anchor ? this.node.scrollTop - this.top(this.items.indexOf(anchor)) : 0;
    this.items = items;
    if (this.open.size || this.selected) {
      const present = new Set(items);
      for (const item of this.open.keys()) if (!present.has(item)) this.open.delete(item);
      if (!present.has(this.selected)) this.selected = null;
    }
    this.layout();
    const at = anchor ? items.indexOf(anchor) : -1;
    if (at > 0) this.node.scrollTop = this.top(at) + before;
    this.render();
  }

  layout() {
    const extra = [...this.open.values()].reduce((sum, height) => sum + height, 0);
    this.room.style.setProperty("height", `${this.items.length * this.row + extra}px`);
    this.opened = [...this.open].map(([item, height]) => [this.items.indexOf(item), height]).sort((a, b) => a[0] - b[0]);
  }

  top(index) {
    let top = index * this.row;
    for (const [at, height] of this.opened ?? []) if (at < index) top += height;
    return top;
  }

  indexAt(y) {
    let index = Math.floor(y / this.row);
    for (const [at, height] of this.opened ?? []) {
      if (at * this.row >= y) break;
      index = Math.max(at, Math.floor((y -= height) / this.row));
    }
    return Math.min(Math.max(index, 0), Math.max(0, this.items.length - 1));
  }

  render() {
    const first = Math.max(0, this.indexAt(this.node.scrollTop) - OVERSCAN);
    const size = Math.min(this.items.length - first, Math.ceil(this.node.clientHeight / this.row) + 2 * OVERSCAN);
    while (this.slots.length < size) this.slots.push(this.slot());
    this.slots.forEach((slot, at) => {
      if (at < size) this.paint(slot, first + at);
      slot.node.hidden = at >= size;
    });
  }

  slot() {
    const part = (name) => make("span", { class: name });
    const [time, category, action, window, detail] = ["time", "category", "action", "window", "detail"].map(part);
    const button = make("button", { type: "button", class: "row", tabindex: -1 }, time, category, action, window, detail);
    const node = make("div", { role: "listitem", class: "item" }, button);
    const slot = { node, button, time, category, action, window, detail, item: null, details: null };
    button.addEventListener("click", () => { this.select(slot.item, false); this.toggle(slot.item); });
    button.addEventListener("focus", () => { if (this.selected !== slot.item) this.select(slot.item, false); });
    this.room.append(node);
    return slot;
  }

  paint(slot, index) {
    const item = this.items[index];
    slot.node.style.setProperty("transform", `translateY(${this.top(index)}px)`);
    slot.node.setAttribute("aria-setsize", this.items.length);
    slot.node.setAttribute("aria-posinset", index + 1);
    slot.button.tabIndex = item === this.selected || (!this.selected && index === 0) ? 0 : -1;
    slot.node.classList.toggle("selected", item === this.selected);
    slot.button.setAttribute("aria-expanded", this.open.has(item));
    if (slot.item !== item || slot.zone !== this.zone) {
      slot.item = item;
      slot.zone = this.zone;
      slot.node.classList.toggle("error", isError(item.action));
      slot.button.dataset.action = item.action;
      say(slot.time, `${shortDay(item.ms, this.zone)} ${clock(item.ms, this.zone)}.${String(item.ms % 1000).padStart(3, "0")}`);
      say(slot.category, item.category);
      say(slot.action, `${isError(item.action) ? "✕ " : ""}${item.action}`);
      say(slot.window, Number.isNaN(item.start) ? "no window" : windowName(item.start, item.end, this.zone));
      say(slot.detail, item.error ?? (item.size === undefined ? "" : plural(item.size, "record")));
      slot.details?.remove();
      slot.details = null;
    }
    if (this.open.has(item) && !slot.details) slot.node.append((slot.details = this.details(item)));
    if (!this.open.has(item) && slot.details) {
      slot.details.remove();
      slot.details = null;
    }
  }

  details(item) {
    const text = JSON.stringify(item.event, null, 2);
    const button = make("button", { type: "button", class: "small", onclick: () => copy(text, button) }, "Copy JSON");
    return make("div", { class: "details" }, button, make("pre", { tabindex: 0, "aria-label": "Event as JSON" }, text));
  }

  toggle(item) {
    if (this.open.has(item)) {
      this.open.delete(item);
    } else {
      this.open.set(item, 0);
      this.layout();
      this.render();
      const slot = this.slots.find((one) => one.item === item && !one.node.hidden);
      this.open.set(item, slot?.details?.offsetHeight ?? 220);
    }
    this.layout();
    this.render();
  }

  // Select an item and bring it into sight.
  select(item, focus = true) {
    this.selected = item;
    const index = this.items.indexOf(item);
    const top = this.top(index);
    if (top < this.node.scrollTop) this.node.scrollTop = top;
    const bottom = top + this.row + (this.open.get(item) ?? 0);
    if (bottom > this.node.scrollTop + this.node.clientHeight) this.node.scrollTop = bottom - this.node.clientHeight;
    this.render();
    if (focus) this.slots.find((slot) => slot.item === item && !slot.node.hidden)?.button.focus({ preventScroll: true });
  }

  move(step) {
    if (!this.items.length) return;
    const at = this.items.indexOf(this.selected);
    this.select(this.items[Math.min(Math.max(at + step, 0), this.items.length - 1)]);
    $("#log").scrollIntoView({ block: "nearest" });
  }

  toggleSelected() {
    if (this.selected) this.toggle(this.selected);
  }

  toTop() {
    this.node.scrollTop = 0;
    this.render();
  }
}
