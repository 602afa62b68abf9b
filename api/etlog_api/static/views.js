// Shows the state: the verdict, the coverage, the timeline, the log with its filters, and the counters.

import { token } from "./api.js";
import { Counters } from "./counters.js";
import { coverage, problems } from "./coverage.js";
import { $, draw, make, say } from "./dom.js";
import { Filters } from "./filters.js";
import { Grids } from "./grid.js";
import { judge, perMinute } from "./health.js";
import { showMetrics, showVerdict } from "./healthline.js";
import { STAGES, isError } from "./kinds.js";
import { List } from "./list.js";
import { passes } from "./model.js";
import { storeWarning } from "./state.js";
import { Timeline } from "./timeline.js";
import { count, parseTime, plural, toText, windowName } from "./times.js";
import { logPath, reachesNow } from "./url.js";

export class Views {
  // `change(part)` is called with what the reader changes in the view.
  constructor(change) {
    this.change = change;
    this.choose = this.choose.bind(this);
    this.list = new List($("#list"));
    this.timeline = new Timeline($("#bars"), $("#brush-note"), (window) => change({ window }));
    this.filters = new Filters(change);
    this.grids = new Grids($("#grids"), this.choose);
    this.counters = new Counters($("#counts tbody"));
    this.logs = null;
    this.top = null;  // the newest event when the list was last at its top
    showLegend();
  }

  show(state) {
    this.state = state;
    const { view, model: { log, refusal, logs } } = state;
    const zone = this.zone();
    const items = log.newest();
    const shown = items.filter((item) => passes(item, view));
    const now = reachesNow(view.window) && !log.warning ? Date.now() : null;
    const groups = coverage([...log.categories].map(([name, own]) => ({ name, items: own })), now);
    const empty = log.loaded && !items.length && !log.total;
    this.showHealth(problems(groups), items, empty);
    $("#empty").hidden = !empty;
    for (const name of ["coverage", "timeline"]) $(`#${name}`).hidden = empty;
    this.grids.show(groups, [...log.categories.keys()], zone);
    this.timeline.show(shown, zone);
    this.filters.show(view, log, refusal, this.setName());
    this.showList(items, shown);
    this.counters.show(log.counters);
    this.showControls();
    if (logs !== this.logs) this.showLogs(logs);
  }

  // The zone of the times that are shown; undefined is the reader's own.
  zone() {
    return this.state.view.zone === "pipeline" ? this.state.model.timezone : undefined;
  }

  showHealth(found, items, empty) {
    const { model: { log, status, looks }, connection: { problem } } = this.state;
    if (!log.loaded && !problem) return;
    const counted = (state) => found.filter(({ cell }) => cell.state === state).length;
    const errors = items.filter(({ action }) => isError(action));
    const verdict = judge({
      problem: problem && !(log.loaded && problem.status === 503) ? problem : null,
      warning: problem?.status === 503 ? problem.message : storeWarning(log), status, empty,
      failed: counted("failed"), missing: counted("missing"),
      loose: errors.filter(({ start }) => Number.isNaN(start)).length,
    });
    showVerdict(verdict, problem ? [] : found, items[0], this.zone(), (one) => this.choose(one.category, one.window));
    showMetrics(status, { errors: errors.length, rate: perMinute(looks), connection: this.connection() });
  }

  connection() {
    const { model: { paused, held }, connection: { link } } = this.state;
    if (paused) return { word: "paused", note: `${count(held.length)} new`, level: "warn" };
    return {
      live: { word: "live", note: "as they come", level: "ok" },
      waiting: { word: "connecting", note: "to the live log", level: "ok" },
      lost: { word: "reconnecting", note: "reads every 5 s", level: "warn" },
      blocked: { word: "polling", note: "every 5 s", level: "warn" },
    }[link];
  }

  // Show the events of one window of one category.
  choose(category, window) {
    const items = this.state.model.log.categories.get(category) ?? [];
    const { start, end } = items.find((item) => item.start === window.start && item.end === window.end)?.event.metadata.window ?? {};
    this.change({ category, set: `${start ?? toText(window.start)}/${end ?? toText(window.end)}`, kinds: [], q: "" });
    $("#log").scrollIntoView();
  }

  setName() {
    const { set } = this.state.view;
    const [start, end] = set.split("/").map((text) => parseTime(text).ms);
    return set && !Number.isNaN(start + end) ? `the set window ${windowName(start, end, this.zone())}` : set;
  }

  showList(items, shown) {
    const { view, model: { log, paused, held } } = this.state;
    const fresh = this.top ? shown.findIndex((item) => item === this.top) : 0;
    this.list.show(shown, this.zone());
    const reading = this.list.node.scrollTop > 0;
    if (!reading) this.top = shown[0] ?? null;
    $("#newer").hidden = paused ? !held.length : !(reading && fresh > 0);
    say($("#newer"), paused ? `${plural(held.length, "new event")} · resume` : `↑ ${plural(Math.max(fresh, 0), "new event")}`);
    say($("#shown"), `${count(shown.length)} of ${plural(items.length, "event")}${otherWarning(log)}`);
    $("#none").hidden = shown.length > 0 || !log.loaded;
    const why = items.length ? "No event passes these filters." : view.window ? "No event in this window." : "No events yet.";
    say($("#none"), why);
  }

  showControls() {
    const { view, model: { paused, held, timezone } } = this.state;
    $("#pause").setAttribute("aria-pressed", paused);
    say($("#pause"), paused ? `Resume (${count(held.length)} new)` : "Pause");
    const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
    say($("#zone"), view.zone === "pipeline" ? `Times: pipeline (${timezone})` : `Times: yours (${own})`);
    const path = logPath(view);
    $("#json").setAttribute("href", path);
    const address = new URL(path, location.href).href.replaceAll("'", "%27");
    say($("#curl"), `curl ${token.get() ? "-H \"Authorization: Bearer $ETLOG_API_TOKEN\" " : ""}'${address}'`);
  }

  // Which log this is, and the others to choose from.
  showLogs(logs) {
    this.logs = logs;
    const name = this.state.view.log || logs.default;
    const several = logs.logs.length > 1;
    $("#pick").replaceChildren(...logs.logs.map((log) => make("option", {}, log)));
    $("#pick").value = name;
    $("#pick").hidden = !several;
    say($("#name"), several || name === "default" ? "" : `log ${name}`);
    document.title = name === "default" ? "etlog" : `${name} · etlog`;
  }

  // `wrong`: a token was given, and the API does not accept it.
  askToken(wrong) {
    if (wrong) say($("#token-why"), "The token is wrong: the API does not accept it. Ask the person who runs the API for the current one (ETLOG_API_TOKEN).");
    $("#ask-token").showModal();
  }
}

function showLegend() {
  const key = (name, text) => make("span", {}, draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw("rect", { width: 10, height: 10, rx: 2, class: `key ${name}` })), text);
  $("#actions").append(...STAGES.map((stage) => key(stage, stage)), key("error", "✕ errors"));
}

// Warnings that are about the answer.
function otherWarning({ warning }) {
  const rest = (warning ?? "").split("; ").filter((text) => text && !text.startsWith("the store"));
  return rest.length ? ` · ${rest.join("; ")}` : "";
}
