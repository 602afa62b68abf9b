// The log as the page knows it: what the API answered, and what came live since.

import { isAfter } from "./ids.js";
import { splitKind } from "./kinds.js";
import { parseTime } from "./times.js";

// An event with what the views need of it, taken apart once.
function toItem(category, event) {
  const { ms, ns } = parseTime(event.time);
  const { window, size, error } = event.metadata ?? {};
  const { action } = splitKind(event.kind) ?? { action: event.kind };
  return {
    category, event, kind: event.kind, action, ms, ns, size, error,
    start: window ? parseTime(window.start).ms : NaN,
    end: window ? parseTime(window.end).ms : NaN,
  };
}

export class Model {
  // `cap` events a category are kept, as in the lists of the store; more if an answer shows that those hold more.
  constructor(prefixes, cap) {
    this.cap = cap;
    this.prefixes = new Map(Object.entries(prefixes).map(([category, prefix]) => [prefix, category]));
    this.categories = new Map();
    this.counters = {};
    this.warning = null;
    this.loaded = false;
    this.cursor = null;  // the id up to which everything is in here
  }

  // One to change, while this one stays as it is.
  copy() {
    return Object.assign(Object.create(Model.prototype), this, {
      prefixes: new Map(this.prefixes),
      categories: new Map([...this.categories].map(([name, items]) => [name, [...items]])),
      counters: { ...this.counters },
    });
  }

  // Take an answer of the API, which holds all up to its cursor, and what came live while it was on its way.
  replace({ data, warning, cursor }, meanwhile = []) {
    const { counters, ...categories } = data;
    this.counters = { ...counters };
    this.warning = warning ?? null;
    this.categories = new Map(Object.entries(categories).map(([name, events]) => {
      for (const { kind } of events.slice(-50)) {
        const split = splitKind(kind);
        if (split) this.prefixes.set(split.prefix, name);
      }
      return [name, events.map((event) => toItem(name, event))];
    }));
    this.cap = Math.max(this.cap, ...[...this.categories.values()].map(({ length }) => length));
    this.loaded = true;
    this.cursor = cursor;
    this.add(meanwhile);
  }

  // Take what came live, as `{ id, event }`. The stream may be behind the last answer: what that holds is passed over.
  add(messages) {
    for (const { id, event } of messages) {
      if (this.cursor && !isAfter(id, this.cursor)) continue;
      this.cursor = id;
      this.counters[event.kind] = (this.counters[event.kind] ?? 0) + 1;
      const category = this.prefixes.get(splitKind(event.kind)?.prefix);
      if (!category) continue;
      const items = this.categories.get(category) ?? this.categories.set(category, []).get(category);
      items.push(toItem(category, event));
      if (items.length > this.cap) items.splice(0, items.length - this.cap);
    }
  }

  // All items, the newest first.
  newest() {
    return [...this.categories.values()].flat().reverse().sort((a, b) => b.ms - a.ms || b.ns - a.ns);
  }

  get total() {
    return Object.values(this.counters).reduce((sum, number) => sum + number, 0);
  }
}

// Whether an item passes the filters that the page applies by itself.
export function passes(item, { kinds, category, q, set }, without = "") {
  if (without !== "kinds" && kinds.length && !kinds.some((kind) => item.kind.includes(kind))) return false;
  if (category && item.category !== category) return false;
  if (set) {
    const { start, end } = item.event.metadata?.window ?? {};
    if (`${start}/${end}` !== set) return false;
  }
  return !q || searchable(item).includes(q.toLowerCase());
}

function searchable(item) {
  item.text ??= `${item.kind} ${JSON.stringify(item.event.metadata)} ${item.event.time}`.toLowerCase();
  return item.text;
}
