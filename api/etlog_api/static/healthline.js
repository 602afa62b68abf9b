// The first thing on the page: is it healthy, and if not, why.

import { $, make, say } from "./dom.js";
import { SLOW, STUCK, acknowledgement } from "./health.js";
import { clock, count, duration, lengthName, windowName } from "./times.js";

const SIGNS = { ok: "✓", warn: "!", bad: "✕" };

// Problems that are named one by one.
const NAMED = 3;

// `newest` is the last event; `onWindow(problem)` is called when a problem is chosen.
export function showVerdict(verdict, problems, newest, zone, onWindow) {
  const box = $("#health");
  box.dataset.level = verdict.level;
  say($("#sign"), SIGNS[verdict.level]);
  say($("#headline"), verdict.headline);
  say($("#alarm"), verdict.level === "bad" ? verdict.headline : "");
  const shown = verdict.reasons.filter(({ next }) => next);
  const rows = [
    ...shown.map(({ text, next }) => make("li", {}, verdict.headline.includes(text) ? next : `${text} ${next}`)),
    ...problems.slice(0, NAMED).map((problem) => make("li", {}, problemButton(problem, zone, onWindow))),
  ];
  if (verdict.level === "ok" && newest) rows.push(make("li", { class: "quiet" }, `The last event: ${newest.category} ${newest.action}, at ${clock(newest.ms, zone)}`));
  $("#more").hidden = problems.length <= NAMED;
  say($("#more"), `and ${count(problems.length - NAMED)} more in the coverage below`);
  const key = rows.map((row) => row.textContent).join("\n");
  const list = $("#reasons");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows);
}

function problemButton(problem, zone, onWindow) {
  const { category, length, stage, window, cell } = problem;
  const failed = cell.state === "failed";
  const what = cell.skipped ? `${count(cell.skipped)} windows without any event` : failed ? cell.error || "failed" : "missing";
  return make(
    "button", { type: "button", class: "problem", onclick: () => onWindow(problem) },
    make("span", { class: `mark ${cell.state}` }, failed ? "✕ failed" : "? missing"),
    make("b", {}, `${category} ${stage}`),
    make("span", { class: "when" }, `${lengthName(length)} ${windowName(window.start, window.end, zone)}`),
    failed || cell.skipped ? make("span", { class: "why", title: what }, what) : "",
  );
}

function metric(name, value, note, level = "ok") {
  const box = $(`#m-${name}`);
  say(box.querySelector(".value"), value);
  say(box.querySelector(".note"), note);
  box.dataset.level = level;
}

// The figures: `status` is null while it is not known.
export function showMetrics(status, { errors, rate, connection }) {
  const known = (value, format = count) => (status && value !== null && value !== undefined ? format(value) : "–");
  const stats = status?.stats ?? {};
  const oldest = status?.oldest_unapplied ?? null;
  metric("applied", known(stats.applied ?? 0), rate === null ? "– per minute" : `${count(rate)} per minute`);
  metric("errors", count(errors), errors ? "✕ in view" : "in view", errors ? "bad" : "ok");
  const late = oldest === null || oldest < SLOW ? "ok" : oldest < STUCK ? "warn" : "bad";
  const unit = status?.lag === 1 ? { events: "event", entries: "entry" }[status.lag_unit] : status?.lag_unit;
  metric("lag", status ? known(status.lag) : "–", oldest === null ? "nothing waits" : `${unit}, oldest ${duration(oldest * 1000)}`, late);
  const loss = (name, note, sign, level) => {
    const number = stats[name] ?? 0;
    const { beyond } = status ? acknowledgement(status, name) : { beyond: 0 };
    metric(name, known(number), number && !beyond ? "acknowledged" : beyond ? `${sign} ${note}` : note, beyond ? level : "ok");
  };
  loss("dead", "refused", "!", "warn");
  loss("lost", "never arrived", "✕", "bad");
  const consumer = status?.active_consumer;
  metric("consumer", status ? (consumer ? "active" : "none") : "–", consumer ?? "no one applies events", !status || consumer ? "ok" : "warn");
  const store = status?.store;
  const [name, version] = store?.valkey_version ? ["Valkey", store.valkey_version] : ["Redis", store?.redis_version ?? ""];
  const facts = store ? `${name} ${version} · ${store.used_memory_human}` : "no answer";
  metric("store", status ? "up" : "unreachable", facts, status ? "ok" : "bad");
  metric("live", connection.word, connection.note, connection.level);
}
