// Whether the pipeline is healthy, and in which words: from the status, the coverage, and how the page is connected.

import { count, duration, plural } from "./times.js";

// Seconds that an event may wait before it is worth a word, and before it is worth an alarm.
export const SLOW = 5;
export const STUCK = 30;

const RANK = { ok: 0, warn: 1, bad: 2 };

// { level, headline, reasons: [{ level, text, next }] }; the worst reason comes first.
export function judge({ problem, warning, status, failed, missing, loose, empty }) {
  const reasons = [];
  const say = (level, text, next) => reasons.push({ level, text, next });
  if (problem) return verdict([trouble(problem)]);
  if (warning) say("bad", `The store is unreachable: ${warning}.`, "What you see is the last known log. Check the store and the network to it; the page recovers by itself.");
  if (status) {
    const { lag, lag_unit: unit, oldest_unapplied: oldest, active_consumer: consumer, stats } = status;
    const counted = unit === "entries" ? plural(lag, "entry", "entries") : plural(lag, "event");
    const waiting = lag === null ? "Events wait" : `${counted} ${lag === 1 ? "waits" : "wait"}`;
    if (oldest !== null && !consumer) say("bad", `${waiting} and no consumer is at work, the oldest for ${duration(oldest * 1000)}.`, "Start one: etlog consume");
    else if (oldest !== null && oldest >= STUCK) say("bad", `${waiting}, the oldest for ${duration(oldest * 1000)}.`, `Look at the log of the consumer ${consumer}.`);
    else if (oldest !== null && oldest >= SLOW) say("warn", `The consumer is behind: ${waiting.toLowerCase()}, the oldest for ${duration(oldest * 1000)}.`, "It may catch up by itself.");
    else if (!consumer && !empty) say("warn", "No consumer is at work.", "Start one: etlog consume");
    const sayLoss = (name, level, were, next) => {
      const number = stats[name] ?? 0;
      const { beyond, by, reason } = acknowledgement(status, name);
      if (!number) return;
      const some = beyond < number ? `, ${beyond ? `${count(number - beyond)} of them ` : ""}acknowledged by ${by}` : "";
      say(beyond ? level : "ok", `${plural(number, "event")}${were(number)}${some}.`, beyond ? next : reason);
    };
    sayLoss("lost", "bad", (number) => ` of this log ${number === 1 ? "was" : "were"} lost`, "The consumer's log names the producers and the numbers.");
    sayLoss("dead", "warn", (number) => ` ${number === 1 ? "was" : "were"} refused`, "See them and why: etlog dead list");
  }
  if (failed) say("bad", `${plural(failed, "step")} failed.`, "");
  if (missing) say("bad", `${plural(missing, "step")} ${missing === 1 ? "is" : "are"} missing.`, "");
  if (loose) say("warn", `${plural(loose, "error")} ${loose === 1 ? "names" : "name"} no window.`, "Filter the log by kind to see them.");
  return verdict(reasons, empty);
}

// How many of the lost or dead events are not acknowledged; and by whom and why the others are.
export function acknowledgement({ stats, acknowledged, acknowledgements }, name) {
  const beyond = Math.max(0, (stats[name] ?? 0) - (acknowledged?.[name] ?? 0));
  return { beyond, by: "someone", reason: "", ...acknowledgements?.[name] };
}

function trouble({ status, message }) {
  if (status === 401) return { level: "bad", text: "A token is required.", next: message };
  if (status === 503) return { level: "bad", text: "The store is unreachable.", next: `${message}. Check the store and the network to it; the page recovers by itself.` };
  if (status === 404) return { level: "bad", text: "There is no such log, or the token does not open it.", next: message };
  if (status === 400) return { level: "warn", text: "The log cannot be shown.", next: message };
  if (status === 0) return { level: "bad", text: "The API is unreachable.", next: `${message}. Is etlog serve running, and does the network reach it? The page recovers by itself.` };
  return { level: "bad", text: `The API fails with ${status}.`, next: `${message}. Its own log says more.` };
}

function verdict(reasons, empty) {
  reasons.sort((a, b) => RANK[b.level] - RANK[a.level]);
  if (!reasons.length || reasons[0].level === "ok") {
    return { level: "ok", headline: empty ? "Ready: nothing is logged yet" : "Healthy: everything that was due is done", reasons };
  }
  const worst = reasons.filter(({ level }) => level === reasons[0].level);
  return { level: reasons[0].level, headline: worst.map(({ text }) => text).join(" "), reasons };
}

// Events per minute, from looks [{ at, applied }] at the number applied, over the last minute. Null while unknown.
export function perMinute(looks) {
  const first = looks[0];
  const last = looks.at(-1);
  if (!first || last.at - first.at < 4000) return null;
  return Math.max(0, Math.round(((last.applied - first.applied) * 60000) / (last.at - first.at)));
}
