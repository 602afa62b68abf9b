// The page's state, and what becomes of it when something happens. Nothing here touches the document, the network or
// the clock: `reduce` takes a message and returns the next state, followed by the effects for effects.js to perform.
//
// - view: what the reader looks at; it lives in the address.
// - model: what is known: the log, the status, and the events that are held while the page is paused.
// - connection: how the page is connected, what it is reading, and what is wrong.

import { isAfter } from "./ids.js";
import { Model } from "./model.js";
import { logPath } from "./url.js";

// Milliseconds. The rate of applied events is that of the last minute.
const LOOKED_BACK = 60000;

// `settings` are those of settings.js.
export function initial(view, { categories, cap, timezone }) {
  return {
    view,
    model: {
      log: new Model(categories, cap),
      timezone,
      answered: null,   // { path, tag } of the answer that `log` holds
      status: null,
      logs: null,       // { default, logs }: the names of all logs
      looks: [],        // [{ at, applied }], the oldest first
      refusal: null,    // why the server refuses the window
      paused: false,
      held: [],
    },
    connection: {
      link: "waiting",  // waiting, live, lost or blocked
      problem: null,    // { status, message }: why nothing can be read
      stale: false,     // the log must be read again at the next look
      reads: 0,
      reading: null,    // { number, path, meanwhile }: the read under way, and the events that came since it began
      hidden: false,
      asked: false,     // the reader is asked for a token
    },
  };
}

// `[state, ...effects]`; the same object as before when nothing has changed.
export function reduce(state, { type, ...message }) {
  return ON[type](state, message);
}

const ON = {
  began(state, { hidden }) {
    const begun = patch(state, { connection: { hidden } });
    return chain([begun, { type: "logs" }], read, connect);
  },

  // The reader changed a part of the view, or went back or forward in the browser.
  viewChanged(state, { part }) {
    const view = { ...state.view, ...part };
    const [next, ...effects] = lookAt(state, view);
    return [next, { type: "address", view, replace: "q" in part }, ...effects];
  },
  navigated: (state, { view }) => lookAt(state, view),

  // A null answer: the log is the same as before.
  logAnswered: (state, { number, answer }) => ended(state, number, (now, { path }) => {
    const fine = patch(now, { model: { refusal: null }, connection: { problem: null } });
    return [answer ? answered(fine, path, answer) : fine];
  }),
  logFailed: (state, { number, problem }) => ended(state, number, (now) => {
    if (problem.status === 400 && now.view.window) return [patch(now, { model: { refusal: problem.message } })];
    return failed(now, problem);
  }),

  streamOpened(state, { resumed }) {
    const live = patch(state, { connection: { link: "live" } });
    return resumed ? [live] : read(live);
  },
  eventsCame: (state, { events }) => [take(state, events)],
  streamResynced: (state) => read(state),
  streamLost: (state, { blocked }) => [patch(state, { connection: { link: blocked ? "blocked" : "lost" } })],
  streamRefused: (state) => failed(state, { status: 401, message: "the token is no longer valid" }),

  ticked: (state) => (state.connection.hidden || state.connection.asked ? [state] : [state, { type: "look" }]),
  statusAnswered(state, { status, at }) {
    const looks = withLook(state.model.looks, { at, applied: status.stats.applied ?? 0 });
    const { problem } = state.connection;
    const wasAway = storeWarning(state.model.log) || (problem && problem.status !== 401);
    return catchUp(patch(state, { model: { status, looks }, connection: wasAway ? { problem: null, stale: true } : {} }));
  },
  statusFailed(state, { problem }) {
    const unknown = patch(state, { model: { status: null }, connection: { stale: true } });
    const warned = problem.status === 503 && state.model.log.loaded;  // the answer of the log says so itself
    return chain(warned ? [unknown] : failed(unknown, problem), catchUp);
  },
  logsAnswered: (state, { logs }) => [patch(state, { model: { logs } })],
  failed: (state, { problem }) => failed(state, problem),

  pausePressed(state) {
    const { paused, held } = state.model;
    if (!paused) return [patch(state, { model: { paused: true } }), { type: "draw" }];
    const resumed = patch(state, { model: { paused: false, held: [] } });
    const again = state.view.window || state.connection.stale;
    const [next, ...effects] = again ? read(resumed) : [take(resumed, held)];
    return [next, ...effects, { type: "toTop" }, { type: "draw" }];
  },

  tokenGiven(state) {
    const known = patch(state, { connection: { problem: null, asked: false } });
    return chain([known, { type: "logs" }], connect);
  },
  tokenDismissed: (state) => [patch(state, { connection: { asked: false } })],
  visibilityChanged: (state, { hidden }) => connect(patch(state, { connection: { hidden } })),
};

// The part of the log's warning that says that the store is away, or null. Other parts are about the answer.
export function storeWarning({ warning }) {
  return warning?.startsWith("the store") ? warning.split("; ")[0] : null;
}

function patch(state, { view, model, connection }) {
  return {
    view: view ?? state.view,
    model: { ...state.model, ...model },
    connection: { ...state.connection, ...connection },
  };
}

// Steps that follow one another, each with the state of the one before.
function chain(first, ...steps) {
  return steps.reduce(([state, ...effects], step) => {
    const [next, ...more] = step(state);
    return [next, ...effects, ...more];
  }, first);
}

// The page filters by kind itself, so the log is read with all of them.
const readPath = ({ log, window }) => logPath({ log, window });

function lookAt(state, view) {
  const before = state.view;
  const next = patch(state, { view });
  if (view.log !== before.log) return [next, { type: "reload" }];
  const effects = [{ type: "draw" }];
  if (view.set !== before.set || view.kinds !== before.kinds || view.q !== before.q) effects.unshift({ type: "toTop" });
  const [now, ...reads] = readPath(view) === readPath(before) ? [next] : readAnew(next);
  return [now, ...reads, ...effects];
}

// Read the whole log. While a read is under way there is no second one; the next look reads once more. With `again`
// the server may answer that nothing has changed.
function read(state, { again = false, meanwhile = [] } = {}) {
  if (state.connection.reading) return [patch(state, { connection: { stale: true } })];
  const path = readPath(state.view);
  const number = state.connection.reads + 1;
  const { answered: last } = state.model;
  return [
    patch(state, { connection: { reads: number, reading: { number, path, meanwhile } } }),
    { type: "read", number, path, tag: again && last?.path === path ? last.tag : null },
  ];
}

// Read for another view: the read under way is cancelled, so that its answer cannot replace the new one.
function readAnew(state) {
  const { reading } = state.connection;
  if (!reading) return read(state);
  const [next, ...effects] = read(patch(state, { connection: { reading: null } }), { meanwhile: reading.meanwhile });
  return [next, { type: "cancel" }, ...effects];
}

// The end of a read: `then(state, reading)`, and the events that came meanwhile. That of a cancelled read changes nothing.
function ended(state, number, then) {
  const { reading } = state.connection;
  if (reading?.number !== number) return [state];
  const [next, ...effects] = then(patch(state, { connection: { reading: null } }), reading);
  return [take(next, reading.meanwhile), ...effects];
}

// The log is what was answered. A paused page keeps what it shows, and reads what it has missed when it is resumed.
function answered(state, path, { tag, ...answer }) {
  const { log, answered: last, paused, held } = state.model;
  if (paused && last?.path === path && !state.view.window) {
    const more = Object.values(answer.data.counters).reduce((sum, number) => sum + number, 0) - log.total;
    return more > held.length ? patch(state, { connection: { stale: true } }) : state;
  }
  const next = log.copy();
  next.replace(answer);
  return patch(state, { model: { log: next, answered: { path, tag }, held: held.filter(({ id }) => isNew(next, id)) } });
}

// Take live events: to where they wait, or into the log. Which of them are in a window only the server knows.
function take(state, events) {
  const { reading } = state.connection;
  const { log, held, paused } = state.model;
  if (reading) {
    const meanwhile = [...reading.meanwhile, ...events];
    return patch(state, { connection: { reading: { ...reading, meanwhile } } });
  }
  const fresh = events.filter(({ id }) => isNew(log, id));
  if (!fresh.length) return state;
  if (paused) return patch(state, { model: { held: [...held, ...fresh] } });
  if (state.view.window) return patch(state, { connection: { stale: true } });
  const next = log.copy();
  next.add(fresh);
  return patch(state, { model: { log: next } });
}

const isNew = ({ cursor }, id) => !cursor || isAfter(id, cursor);

// Read the log where it is stale, or where no stream brings it.
function catchUp(state) {
  const { link, stale, problem } = state.connection;
  const polled = link === "lost" || link === "blocked";
  if (!(stale || polled) || state.model.paused || problem?.status === 401) return [state];
  return read(patch(state, { connection: { stale: false } }), { again: true });
}

// Something could not be read. Where a token is missing, the reader is asked for it, once.
function failed(state, problem) {
  const next = patch(state, { connection: { problem, stale: true } });
  if (problem.status !== 401 || state.connection.asked) return [next];
  return [patch(next, { connection: { asked: true } }), { type: "disconnect" }, { type: "askToken" }];
}

function connect(state) {
  const { hidden, asked } = state.connection;
  if (hidden) return [state, { type: "disconnect" }];
  return asked ? [state] : [state, { type: "connect" }, { type: "look" }];
}

// The looks of the last minute. Where fewer are applied than before, the log is another one, and they begin anew.
function withLook(looks, look) {
  const recent = [...looks, look].filter(({ at }) => at > look.at - LOOKED_BACK);
  return look.applied < recent[0].applied ? [look] : recent;
}
