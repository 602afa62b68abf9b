// The rules of coverage: which sets should be there, and which stage did, failed or missed each.
//
// 1. Windows of sets are compared with windows of the same length and category only.
// 2. Done: the stage has an event for the window. Failed: its error came, and the stage was not done after it.
//    Recovered: it was done after the error.
// 3. A ReconcileError is Reconciled's. A ComputeError names no stage: it is that of the stage which, in other windows,
//    most often follows what was done last in this one.
// 4. Missing: the stage was done for a window before and for a window after this one, but not for this one; or it was
//    done for earlier windows, and is later than it is in nine of ten windows by more than half a window (5 s at least).
// 5. Not yet due: it was done for earlier windows, and that time has not come.
// 6. A stage that was never done for windows of a length is not expected there; nor is it before its first window.

import { STAGES, isError } from "./kinds.js";

// Windows after the last one in the log, up to the present, that are expected. A log that rests longer is at rest.
const AHEAD = 12;

// Empty windows in a row that are shown one by one; more are shown as one break.
const LONGEST_GAP = 24;

const GRACE = 5000;

// Groups of windows by length, the shortest first: [{ length, categories: [{ name, columns: [...] }] }].
// `categories` is [{ name, items }] with items { action, ms, ns, start, end, size, error }; `now` is null for a view of
// the past, in which nothing is due.
export function coverage(categories, now) {
  const lengths = new Set();
  for (const { items } of categories) {
    for (const item of items) if (item.end > item.start) lengths.add(item.end - item.start);
  }
  return [...lengths].sort((a, b) => a - b).map((length) => {
    const own = categories.map(({ name, items }) => [name, items.filter((item) => item.end - item.start === length)]);
    const windows = windowsOf(own.flatMap(([, items]) => items), length, now);
    const found = own.filter(([, items]) => items.length);
    return { length, windows, categories: found.map(([name, items]) => ({ name, rows: rowsOf(items, windows, now) })) };
  });
}

// The windows of a group, in order: those of its events, those between, and those that have begun since.
function windowsOf(items, length, now) {
  const starts = [...new Set(items.map((item) => item.start))].sort((a, b) => a - b);
  const windows = [];
  for (const start of starts) {
    const last = windows.at(-1);
    if (last) {
      const between = Math.round((start - last.end) / length);
      if (between > LONGEST_GAP) windows.push({ start: last.end, end: start, skipped: between });
      else for (let at = last.end; at + length <= start; at += length) windows.push({ start: at, end: at + length });
    }
    windows.push({ start, end: start + length });
  }
  if (now !== null) {
    for (let ahead = 0, at = windows.at(-1).end; ahead < AHEAD && at <= now; ahead += 1, at += length) {
      windows.push({ start: at, end: at + length });
    }
  }
  return windows;
}

// One row a stage: [{ stage, cells }], a cell { state, times, at, size, error }.
function rowsOf(items, windows, now) {
  const byWindow = new Map();
  for (const item of [...items].sort((a, b) => a.ms - b.ms || a.ns - b.ns)) {
    if (!byWindow.has(item.start)) byWindow.set(item.start, []);
    byWindow.get(item.start).push(item);
  }
  const habit = habits(byWindow.values());
  const seen = windows.map(({ start, skipped }) => (skipped ? new Map() : judge(byWindow.get(start) ?? [], habit)));
  return STAGES.map((stage) => ({ stage, cells: cellsOf(stage, windows, seen, now) }));
}

// What follows what: stage -> the stage that most often comes next in a window; "" -> the one that comes first.
function habits(windows) {
  const counts = new Map();
  for (const items of windows) {
    let before = "";
    for (const { action } of items) {
      if (isError(action) || action === "Reconciled") break;
      const next = counts.get(before) ?? counts.set(before, new Map()).get(before);
      next.set(action, (next.get(action) ?? 0) + 1);
      before = action;
    }
  }
  const most = (next) => [...next].reduce((best, one) => (one[1] > best[1] ? one : best))[0];
  return new Map([...counts].map(([before, next]) => [before, most(next)]));
}

// The stages of one window, from its events in order: stage -> { times, first, at, size, error, failedAt }.
function judge(items, habit) {
  const stages = new Map();
  const of = (stage) => stages.get(stage) ?? stages.set(stage, { times: 0 }).get(stage);
  let before = "";
  for (const item of items) {
    if (isError(item.action)) {
      const stage = item.action === "ReconcileError" ? "Reconciled" : habit.get(before) ?? follower(before);
      Object.assign(of(stage), { error: item.error ?? "", failedAt: item.ms, open: true });
    } else {
      const stage = of(item.action);
      stage.first ??= item.ms;
      Object.assign(stage, { times: stage.times + 1, at: item.ms, size: item.size ?? stage.size, open: false });
      if (item.action !== "Reconciled") before = item.action;
    }
  }
  return stages;
}

const follower = (stage) => STAGES[Math.min(STAGES.indexOf(stage) + 1, STAGES.indexOf("Reconciled") - 1)];

function cellsOf(stage, windows, seen, now) {
  const found = seen.map((stages) => stages.get(stage) ?? { times: 0 });
  const done = found.map((cell, column) => (cell.times ? column : -1)).filter((column) => column >= 0);
  const first = done[0] ?? Infinity;
  const last = done.at(-1) ?? -1;
  const delays = done.map((column) => Math.max(0, found[column].first - windows[column].end)).sort((a, b) => a - b);
  const usual = delays[Math.floor((delays.length - 1) * 0.9)] ?? 0;
  return windows.map((window, column) => {
    const cell = { ...found[column], skipped: window.skipped };
    const due = window.end + usual + Math.max((window.end - window.start) / 2, GRACE);
    if (cell.open) cell.state = "failed";
    else if (cell.times) cell.state = cell.error === undefined ? "done" : "recovered";
    else if (column > first && column < last) cell.state = "missing";
    else if (column < first || now === null || done.length < 2) cell.state = "none";
    else if (now > due) cell.state = "missing";
    else Object.assign(cell, { state: "due", due });
    return cell;
  });
}

// Every failed or missing cell, the newest window first; a break counts as one.
export function problems(groups) {
  const found = [];
  for (const { length, windows, categories } of groups) {
    for (const { name, rows } of categories) {
      for (const { stage, cells } of rows) {
        cells.forEach((cell, column) => {
          if (cell.state !== "failed" && cell.state !== "missing") return;
          found.push({ category: name, length, stage, window: windows[column], cell });
        });
      }
    }
  }
  const weight = ({ cell }) => (cell.state === "failed" ? 0 : 1);
  return found.sort((a, b) => b.window.start - a.window.start || weight(a) - weight(b) || a.length - b.length);
}

// How many cells are in each state.
export function tally(rows) {
  const counts = { done: 0, recovered: 0, failed: 0, missing: 0, due: 0, none: 0 };
  for (const { cells } of rows) for (const { state } of cells) counts[state] += 1;
  return counts;
}
