// Wires the page: what is read goes into the model, and the model into the views.

import { Problem, ask, logPath, pathOf, request, token } from "./api.js";
import { showCounters } from "./counters.js";
import { coverage, problems } from "./coverage.js";
import { $, copy, draw, make, say } from "./dom.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { judge, perMinute } from "./health.js";
import { showMetrics, showVerdict } from "./healthline.js";
import { listenToKeys } from "./keyboard.js";
import { STAGES, isError } from "./kinds.js";
import { List } from "./list.js";
import { Model, passes } from "./model.js";
import { Stream } from "./stream.js";
import { Timeline } from "./timeline.js";
import { count, parseTime, plural, windowName } from "./times.js";
import { fromAddress, reachesNow, toAddress } from "./url.js";

// Between two looks at the status; and between two drawings while events pour in.
const LOOK = 5000;
const DRAW = 250;


let view = fromAddress(location.search);
let model = new Model({}, Infinity);
let settings = { timezone: "UTC" };
let status = null;
let problem = null;   // why nothing can be read
let refusal = null;   // the server's word on the window
let looks = [];
let held = [];        // events that came while paused
let meanwhile = null; // events that came while the log was read
let paused = false;
let link = "waiting"; // waiting, live, lost, blocked
let stale = false;    // the log must be read anew at the next look
let drawn = 0;
let timer = null;
let asking = false;
const grids = new Map();

const zone = () => (view.zone === "pipeline" ? settings.timezone : undefined);
const list = new List($("#list"));
const timeline = new Timeline($("#bars"), $("#brush-note"), (window) => change({ window }));
const filters = new Filters(change);
const stream = new Stream(pathOf("log/stream", view), {
  open(resumed) {
    link = "live";
    if (!resumed) read();
    draw_();
  },
  event: take,
  resync: read,
  lost(blocked) {
    link = blocked ? "blocked" : "lost";
    draw_();
  },
  refused() {
    fail(new Problem(401, "the token is not valid any more"));
  },
});

function change(part) {
  const before = view;
  view = { ...view, ...(typeof part === "function" ? part(view) : part) };
  const address = `${location.pathname}${toAddress(view)}${location.hash}`;
  if ("q" in part) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  turned(before);
}

function turned(before) {
  if (view.log !== before.log) location.reload();
  if (view.window !== before.window) read();
  if (view.set !== before.set || view.kinds !== before.kinds || view.q !== before.q) list.toTop();
  draw_(true);
}

function take(event, id) {
  if (meanwhile) meanwhile.push({ id, event });
  else if (paused) held.push({ id, event });
  else if (view.window) stale = true;
  else model.add([{ id, event }]);
  draw_();
}

// Read the whole log. What comes live until the answer is there is not lost.
async function read({ again = false } = {}) {
  if (asking) {
    stale = true;
    return;
  }
  asking = true;
  meanwhile = [];
  try {
    const answer = await ask(logPath(view), { again });
    refusal = null;
    problem = null;
    if (answer) {
      if (paused) {  // pausing holds the view: what is new counts as held
        const more = Object.values(answer.data.counters).reduce((sum, number) => sum + number, 0) - model.total;
        if (!model.loaded || view.window) model.replace(answer, meanwhile);
        else if (more > held.length) stale = true;
      } else {
        model.replace(answer, view.window ? [] : meanwhile);
      }
    } else {
      model.add(meanwhile);
    }
  } catch (error) {
    if (error.status === 400 && view.window) refusal = error.message;
    else fail(error);
  } finally {
    asking = false;
    const late = meanwhile;
    meanwhile = null;
    if (paused) held.push(...late);
    draw_();
  }
}

function fail(error) {
  if (!(error instanceof Problem)) throw error;
  problem = error;
  stale = true;
  if (error.status === 401) askToken();
  draw_();
}

function askToken() {
  const dialog = $("#ask-token");
  if (dialog.open) return;
  stream.stop();
  if (token.get()) say($("#token-why"), "The token is wrong: the API does not accept it. Ask whoever runs the API for the present one (ETLOG_API_TOKEN).");
  dialog.showModal();
}

// The regular look: the status, and the log where no stream brings it.
async function look() {
  if (document.hidden || $("#ask-token").open) return;
  try {
    status = (await (await request(pathOf("status", view))).json()).data;
    looks.push({ at: Date.now(), applied: status.stats.applied ?? 0 });
    looks = looks.filter(({ at }) => at > Date.now() - 60000);
    if (looks.length > 1 && looks.at(-1).applied < looks[0].applied) looks = looks.slice(-1);
    if (awayWarning() || (problem && problem.status !== 401)) {
      problem = null;
      stale = true;
    }
  } catch (error) {
    status = null;
    if (error.status !== 503 || !model.loaded) fail(error);
    stale = true;
  }
  const polled = link === "blocked" || link === "lost";
  if ((stale || polled) && !paused && problem?.status !== 401) {
    stale = false;
    await read({ again: true });
  }
  draw_();
}

function draw_(now = false) {
  if (timer && !now) return;
  clearTimeout(timer);
  const wait = now ? 0 : Math.max(0, drawn + DRAW - Date.now());
  timer = setTimeout(() => {
    timer = null;
    drawn = Date.now();
    render();
  }, wait);
}

function render() {
  const items = model.newest();
  const shown = items.filter((item) => passes(item, view));
  const now = reachesNow(view.window) && !model.warning ? Date.now() : null;
  const groups = coverage([...model.categories].map(([name, own]) => ({ name, items: own })), now);
  const found = problems(groups);
  const errors = items.filter(({ action }) => isError(action));
  const empty = model.loaded && !items.length && !model.total;
  showHealth(found, errors, empty, items[0]);
  $("#empty").hidden = !empty;
  for (const name of ["coverage", "timeline"]) $(`#${name}`).hidden = empty;
  showGrids(groups);
  timeline.show(shown, zone());
  filters.show(view, model, refusal, setName());
  showList(items, shown);
  showCounters(model.counters);
  showControls(shown.length);
}

function showHealth(found, errors, empty, newest) {
  const counted = (state) => found.filter(({ cell }) => cell.state === state).length;
  if (!model.loaded && !problem) return;
  const verdict = judge({
    problem: problem && !(model.loaded && problem.status === 503) ? problem : null,
    warning: problem?.status === 503 ? problem.message : awayWarning(), status, empty,
    failed: counted("failed"), missing: counted("missing"),
    loose: errors.filter(({ start }) => Number.isNaN(start)).length,
  });
  showVerdict(verdict, problem ? [] : found, newest, zone(), (one) => choose(one.category, one.window));
  showMetrics(status, { errors: errors.length, rate: perMinute(looks), connection: connection() });
}

// A warning that the store is away; other warnings are about the answer, and stand above the list.
const awayWarning = () => (model.warning?.startsWith("the store") ? model.warning.split("; ")[0] : null);

function connection() {
  if (paused) return { word: "paused", note: `${count(held.length)} new`, level: "warn" };
  return {
    live: { word: "live", note: "as they come", level: "ok" },
    waiting: { word: "connecting", note: "to the live log", level: "ok" },
    lost: { word: "reconnecting", note: "reads every 5 s", level: "warn" },
    blocked: { word: "polling", note: "every 5 s", level: "warn" },
  }[link];
}

function showGrids(groups) {
  const used = new Set();
  for (const { length, windows, categories } of groups) {
    for (const { name, rows } of categories) {
      const key = `${name} ${length}`;
      used.add(key);
      if (!grids.has(key)) addGrid(key, name, length);
      grids.get(key).show(rows, windows, zone());
    }
  }
  for (const [key, { node }] of grids) node.hidden = !used.has(key);
}

function addGrid(key, name, length) {
  const grid = new Grid(name, length, choose);
  grid.node.dataset.length = length;
  grids.set(key, grid);
  let box = [...$("#grids").children].find(({ dataset }) => dataset.category === name);
  if (!box) {
    box = make("section", { class: "category", "data-category": name, "aria-label": name }, make("h3", {}, name), make("div", { class: "groups" }));
    const order = [...model.categories.keys()];
    const next = [...$("#grids").children].find(({ dataset }) => order.indexOf(dataset.category) > order.indexOf(name));
    $("#grids").insertBefore(box, next ?? null);
  }
  const next = [...box.lastChild.children].find(({ dataset }) => Number(dataset.length) > length);
  box.lastChild.insertBefore(grid.node, next ?? null);
}

// Show the events of one window of one category.
function choose(category, window) {
  const item = (model.categories.get(category) ?? []).find(({ start, end }) => start === window.start && end === window.end);
  const { start, end } = item?.event.metadata.window ?? {};
  const text = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");
  change({ category, set: `${start ?? text(window.start)}/${end ?? text(window.end)}`, kinds: [], q: "" });
  $("#log").scrollIntoView();
}

function setName() {
  const [start, end] = view.set.split("/").map((text) => parseTime(text).ms);
  return view.set && !Number.isNaN(start + end) ? `the set window ${windowName(start, end, zone())}` : view.set;
}

let top = null;  // the newest event when the list was last at its top

function showList(items, shown) {
  const fresh = top ? shown.findIndex((item) => item === top) : 0;
  list.show(shown, zone());
  const reading = list.node.scrollTop > 0;
  if (!reading) top = shown[0] ?? null;
  $("#newer").hidden = paused ? !held.length : !(reading && fresh > 0);
  say($("#newer"), paused ? `${plural(held.length, "new event")} · resume` : `↑ ${plural(Math.max(fresh, 0), "new event")}`);
  say($("#shown"), `${count(shown.length)} of ${plural(items.length, "event")}${otherWarning()}`);
  $("#none").hidden = shown.length > 0 || !model.loaded;
  const why = items.length ? "No event passes these filters." : view.window ? "No event in this window." : "No events yet.";
  say($("#none"), why);
}

function otherWarning() {
  const rest = (model.warning ?? "").split("; ").filter((text) => text && !text.startsWith("the store"));
  return rest.length ? ` · ${rest.join("; ")}` : "";
}

function showControls() {
  $("#pause").setAttribute("aria-pressed", paused);
  say($("#pause"), paused ? `Resume (${count(held.length)} new)` : "Pause");
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
  say($("#zone"), view.zone === "pipeline" ? `Times: pipeline (${settings.timezone})` : `Times: yours (${own})`);
  const path = logPath(view);
  $("#json").setAttribute("href", path);
  const address = new URL(path, location.href).href.replaceAll("'", "%27");
  say($("#curl"), `curl ${token.get() ? "-H \"Authorization: Bearer $ETLOG_API_TOKEN\" " : ""}'${address}'`);
}

function pause() {
  paused = !paused;
  if (!paused) {
    if (view.window || stale) read();
    else model.add(held);
    held = [];
    list.toTop();
  }
  draw_(true);
}

async function report() {
  try {
    const response = await request(pathOf("bugreport", view), { signal: AbortSignal.timeout(60000) });
    const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1] ?? "etlog-bugreport.zip";
    const address = URL.createObjectURL(await response.blob());
    const anchor = make("a", { href: address, download: name });
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  } catch (error) {
    fail(error);
  }
}

function connect() {
  if (document.hidden) {
    stream.stop();
    return;
  }
  stream.start();
  look();
}

function listen() {
  $("#pause").addEventListener("click", pause);
  $("#zone").addEventListener("click", () => change({ zone: view.zone === "pipeline" ? "local" : "pipeline" }));
  $("#pick").addEventListener("change", ({ target }) => location.assign(toAddress({ ...view, log: target.value, set: "" })));
  $("#report").addEventListener("click", report);
  $("#newer").addEventListener("click", () => { if (paused) pause(); else { list.toTop(); draw_(true); } });
  $("#list").addEventListener("scroll", () => { if (list.node.scrollTop === 0) draw_(); }, { passive: true });
  $("#copy-curl").addEventListener("click", (event) => copy($("#curl").textContent, event.target));
  $("#ask-token form").addEventListener("submit", (event) => {
    event.preventDefault();
    token.set($("#token").value.trim());
    $("#token").value = "";
    problem = null;
    $("#ask-token").close();
    showLogs();
    connect();
  });
  addEventListener("popstate", () => {
    const before = view;
    view = fromAddress(location.search);
    turned(before);
  });
  document.addEventListener("visibilitychange", connect);
  addEventListener("resize", () => draw_());
  listenToKeys({ list, pause });
}

function showLegend() {
  const key = (name, text) => make("span", {}, draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw("rect", { width: 10, height: 10, rx: 2, class: `key ${name}` })), text);
  $("#actions").append(...STAGES.map((stage) => key(stage, stage)), key("error", "✕ errors"));
}

// Which log this is, and the others to choose from. Another one is another page.
async function showLogs() {
  try {
    const { default: first, logs } = (await (await request("model/etl/logs")).json()).data;
    const name = view.log || first;
    const several = logs.length > 1;
    $("#pick").replaceChildren(...logs.map((log) => make("option", {}, log)));
    $("#pick").value = name;
    $("#pick").hidden = !several;
    say($("#name"), several || name === "default" ? "" : `log ${name}`);
    document.title = name === "default" ? "etlog" : `${name} · etlog`;
  } catch (error) {
    if (error instanceof Problem) fail(error);  // else the page is being left
  }
}

async function begin() {
  showLegend();
  listen();
  try {
    settings = await (await request("static/page.json")).json();
    model = new Model(settings.categories, settings.cap);
  } catch (error) {
    fail(error);
  }
  showLogs();
  read();
  connect();
  setInterval(look, LOOK);
}

begin();
