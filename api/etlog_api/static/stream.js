// Follows the live log: resumes after breaks, and reports when streams do not get through.

import { notEtlog, request } from "./api.js";
import { isAfter } from "./ids.js";
import { parser } from "./sse.js";

// The first and the longest wait before another attempt; attempts in a row before streams count as blocked.
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
const ATTEMPTS = 3;

// A live stream says something at once, and then every 15 s.
const SILENCE_AT_FIRST = 5000;
const SILENCE = 40000;

// Calls `on.open(resumed)`, `on.events([{ id, event }])`, `on.resync()`, `on.lost(blocked)` and `on.refused()`.
export class Stream {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.lastId = null;
    this.failures = 0;
    this.running = null;
  }

  start() {
    if (this.running) return;
    this.running = new AbortController();
    this.follow(this.running.signal);
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  async follow(signal) {
    while (!signal.aborted) {
      try {
        await this.read(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 401) {
          this.running = null;
          this.on.refused();
          return;
        }
      }
      if (signal.aborted) return;
      this.failures += 1;
      this.on.lost(this.failures >= ATTEMPTS);
      const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (this.failures - 1));
      await pause(wait * (0.5 + Math.random() / 2), signal);
    }
  }

  // One connection, until it ends. Rejects when it breaks.
  async read(signal) {
    const own = new AbortController();
    const end = () => own.abort();
    signal.addEventListener("abort", end);
    let silence = setTimeout(end, SILENCE_AT_FIRST);
    try {
      const headers = this.lastId ? { "Last-Event-ID": this.lastId } : {};
      const response = await request(this.path, { headers, signal: own.signal });
      if (!response.headers.get("Content-Type")?.startsWith("text/event-stream")) throw notEtlog();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const messages = parser();
      let opened = false;
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        clearTimeout(silence);
        silence = setTimeout(end, SILENCE);
        if (!opened) {
          opened = true;
          this.failures = 0;
          this.on.open(this.lastId !== null);
        }
        this.take(messages.push(value));
      }
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", end);
      own.abort();
    }
  }

  // What arrived together is handed on together, but for a resync, which keeps its place.
  take(messages) {
    const events = [];
    const hand = () => { if (events.length) this.on.events(events.splice(0)); };
    for (const { id, event, data } of messages) {
      if (event === "resync") {
        hand();
        this.lastId = null;
        this.on.resync();
      } else if (!id || !this.lastId || isAfter(id, this.lastId)) {  // else it was here already
        if (id) this.lastId = id;
        events.push({ id, event: JSON.parse(data) });
      }
    }
    hand();
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
