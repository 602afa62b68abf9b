// What the page does: requests, the live log, timers, the address. What comes of it goes back as a message.

import { Problem, ask, dataOf, notEtlog, request, token } from "./api.js";
import { make } from "./dom.js";
import { Stream } from "./stream.js";
import { pathOf, toAddress } from "./url.js";

// Milliseconds between two looks at the status, and between two drawings while events pour in.
const LOOK = 5000;
const DRAW = 250;

// Each effect of state.js is the method of its name. `dispatch(message)` takes messages, `show()` draws the state.
export class Effects {
  constructor({ log }, dispatch, views, show) {
    this.dispatch = dispatch;
    this.views = views;
    this.show = show;
    this.status = pathOf("status", { log });
    this.bugreport = pathOf("bugreport", { log });
    this.stream = new Stream(pathOf("log/stream", { log }), {
      open: (resumed) => dispatch({ type: "streamOpened", resumed }),
      events: (events) => dispatch({ type: "eventsCame", events }),
      resync: () => dispatch({ type: "streamResynced" }),
      lost: (blocked) => dispatch({ type: "streamLost", blocked }),
      refused: () => dispatch({ type: "streamRefused" }),
    });
    this.drawn = 0;
    setInterval(() => dispatch({ type: "ticked" }), LOOK);
  }

  perform(effect) {
    this[effect.type](effect);
  }

  async read({ number, path, tag }) {
    this.reading = new AbortController();
    const { signal } = this.reading;
    try {
      const answer = await ask(path, { tag, signal });
      this.dispatch({ type: "logAnswered", number, answer });
    } catch (error) {
      if (!signal.aborted) this.fail(error, { type: "logFailed", number });
    }
  }

  cancel() {
    this.reading.abort();
  }

  // One look at a time.
  async look() {
    if (this.looking) return;
    this.looking = true;
    try {
      const status = await dataOf(this.status, "stats");
      this.dispatch({ type: "statusAnswered", status, at: Date.now() });
    } catch (error) {
      this.fail(error, { type: "statusFailed" });
    } finally {
      this.looking = false;
    }
  }

  async logs() {
    try {
      this.dispatch({ type: "logsAnswered", logs: await dataOf("model/etl/logs", "logs") });
    } catch (error) {
      this.fail(error, { type: "failed" });
    }
  }

  connect() {
    this.stream.start();
  }

  disconnect() {
    this.stream.stop();
  }

  address({ view, replace }) {
    const address = `${location.pathname}${toAddress(view)}${location.hash}`;
    if (replace) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
  }

  reload() {
    location.reload();
  }

  toTop() {
    this.views.list.toTop();
  }

  askToken() {
    this.views.askToken(Boolean(token.get()));
  }

  // Draw at once.
  draw() {
    clearTimeout(this.timer);
    this.drawIn(0);
  }

  // Draw soon: many changes are drawn together.
  drawSoon() {
    if (!this.timer) this.drawIn(Math.max(0, this.drawn + DRAW - Date.now()));
  }

  drawIn(wait) {
    this.timer = setTimeout(() => {
      this.timer = null;
      this.drawn = Date.now();
      this.show();
    }, wait);
  }

  async report() {
    try {
      const response = await request(this.bugreport, { signal: AbortSignal.timeout(60000) });
      const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1];
      if (!name) throw notEtlog();
      const address = URL.createObjectURL(await response.blob());
      make("a", { href: address, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    } catch (error) {
      this.fail(error, { type: "failed" });
    }
  }

  // Dispatch `message` with the problem. An error that is not a Problem is a bug of the page: it is dispatched as well,
  // so that the state does not wait for an answer for good, and the console shows it.
  fail(error, message) {
    const known = error instanceof Problem;
    this.dispatch({ ...message, problem: known ? error : new Problem(0, String(error)) });
    if (!known) throw error;
  }
}
