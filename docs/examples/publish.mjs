// Publish a file of events, one per line, to a log of etlog with node-redis (`npm ci` in this folder).
//
//   node publish.mjs events.ndjson             call the function of the store: each event arrives exactly once
//   node publish.mjs --plain events.ndjson     plain XADD: nothing to call, and nothing that notices a loss or a repetition
//
// ETLOG_REDIS_URL is the address of the store, ETLOG_NAME the name of the log.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";

const args = process.argv.slice(2);
const plain = args[0] === "--plain";
if (plain) args.shift();
if (args.length !== 1) {
  console.error("usage: publish.mjs [--plain] FILE");
  process.exit(2);
}
const events = readFileSync(args[0], "utf8").split("\n").filter((line) => line.trim() !== "");

const log = `etlog:{${process.env.ETLOG_NAME ?? "default"}}`;
const keys = ["events", "producers", "producers:seen", "producers:ended", "stats", "contract", "id"].map((key) => `${log}:${key}`);
const BATCH = 100; // an entry holds up to 500 events, and up to 64 KiB unless it holds a single one

let told = false; // whether an error was
const client = createClient({ url: process.env.ETLOG_REDIS_URL ?? "redis://127.0.0.1:6379/0", socket: { socketTimeout: 5000 } });
client.on("error", tell); // it connects anew by itself, and a call that failed is made again
await client.connect();
await (plain ? publishPlain() : publish());
client.destroy();

// The first error; after it the program keeps trying.
function tell(error) {
  if (!told) console.error(`publish: will keep trying: ${error.message || error.code}`);
  told = true;
}

async function publishPlain() {
  for (let first = 0; first < events.length; first += BATCH) {
    const fields = events.slice(first, first + BATCH).map((event, place) => [place ? `event.${place}` : "event", event]);
    await client.xAdd(`${log}:events`, "*", Object.fromEntries(fields)); // on an error they are in the stream, or they are not
  }
}

async function publish() {
  const producer = `${hostname()}-${process.pid}-${randomBytes(16).toString("hex")}`; // never used by another process
  const token = randomBytes(8).toString("hex"); // and this proves it
  let logId = ""; // of the log, as the store answers it
  let held = 0; // number of the last event that the store holds
  let failed = false; // whether a call had no answer
  for (;;) {
    const batch = events.slice(held, held + BATCH);
    // When nothing is left, the store need not remember this producer. That is said once, and not after a failed call,
    // which may still be on its way, and would count anew. The store remembers the producer for 90 days then.
    if (batch.length === 0 && failed) return;
    try {
      const mode = batch.length ? "follow" : "close";
      const args = [producer, token, logId, String(held + 1), mode, ...batch];
      const [outcome, last, id] = await client.fCall("etlog_publish_2", { keys, arguments: args });
      if (mode === "close" && outcome === "OK") return;
      // "OK" and the last number, or "GAP" and the number to go on from: the store lost what was not on its disk.
      [held, logId] = [last, id];
    } catch (error) {
      if (/\b(ARGUMENT|CONTRACT|LOG|TAKEN|NOPERM|NOAUTH|WRONGPASS) /.test(error.message)) throw error;
      tell(error);
      failed = true; // the same call is made again; what the store has already it does not append again
      await sleep(500);
    }
  }
}
