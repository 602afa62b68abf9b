// Events over time: bars of one width, and the ticks of an axis.

import { DAY, HOUR, MINUTE, SECOND } from "./times.js";

const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND), ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR), ...[1, 2, 7, 14, 28].map((n) => n * DAY),
];

// The shortest round step with which `span` has no more than `most` parts.
export function step(span, most) {
  return STEPS.find((length) => span / length <= most) ?? Math.ceil(span / most / DAY) * DAY;
}

// { from, to, width, bars: [{ start, counts: {action: n}, total }], highest }, with at most `most` bars.
export function buckets(items, from, to, most) {
  const width = step(Math.max(to - from, SECOND), most - 1);
  const begin = Math.floor(from / width) * width;
  const size = Math.max(1, Math.floor((to - begin) / width) + 1);
  const bars = Array.from({ length: size }, (_, at) => ({ start: begin + at * width, counts: {}, total: 0 }));
  for (const { ms, action } of items) {
    const bar = bars[Math.floor((ms - begin) / width)];
    if (!bar) continue;
    bar.counts[action] = (bar.counts[action] ?? 0) + 1;
    bar.total += 1;
  }
  const highest = bars.reduce((most_, { total }) => Math.max(most_, total), 0);
  return { from: begin, to: begin + size * width, width, bars, highest };
}

// Round moments between two others, `shift` milliseconds away from those of UTC.
export function ticks(from, to, most, shift) {
  const width = step(to - from, most);
  const found = [];
  for (let at = Math.ceil((from + shift) / width) * width - shift; at < to; at += width) found.push(at);
  return { width, at: found };
}
