// Times: RFC 3339 texts, and how they are written for people in one zone or another. All numbers are milliseconds.

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$/;

// { ms, ns }: milliseconds since 1970 and the nanoseconds beyond them, which a number of JavaScript cannot hold.
export function parseTime(text) {
  const match = RFC3339.exec(text);
  if (!match) return { ms: NaN, ns: 0 };
  const fraction = (match[2] ?? "").padEnd(9, "0");
  return { ms: Date.parse(match[1] + match[3]) + Number(fraction.slice(0, 3)), ns: Number(fraction.slice(3, 9)) };
}

// RFC 3339 in UTC, without a fraction if there is none.
export const toText = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");

const formats = new Map();

// The parts of a moment in a zone (undefined: the viewer's), by a formatter that is made once.
function parts(ms, zone) {
  if (!formats.has(zone)) {
    formats.set(zone, new Intl.DateTimeFormat("en-GB", {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "short", day: "numeric", weekday: "short",
      hour: "2-digit", minute: "2-digit", second: "2-digit",
    }));
  }
  return Object.fromEntries(formats.get(zone).formatToParts(ms).map(({ type, value }) => [type, value]));
}

export function clock(ms, zone, seconds = true) {
  const at = parts(ms, zone);
  return seconds ? `${at.hour}:${at.minute}:${at.second}` : `${at.hour}:${at.minute}`;
}

export function day(ms, zone) {
  const at = parts(ms, zone);
  return `${at.weekday} ${at.day} ${at.month} ${at.year}`;
}

export function shortDay(ms, zone) {
  const at = parts(ms, zone);
  return `${at.day} ${at.month}`;
}

// A label for an axis whose ticks are `step` apart.
export function tick(ms, zone, step) {
  const time = clock(ms, zone, step < MINUTE);
  return step >= DAY || time === "00:00" ? shortDay(ms, zone) : time;
}

// Milliseconds from UTC to the wall clock of a zone, so that ticks fall on its round times.
export function offset(ms, zone) {
  const at = parts(ms, zone);
  const wall = Date.parse(`${at.day} ${at.month} ${at.year} ${at.hour}:${at.minute}:${at.second} UTC`);
  return wall - Math.floor(ms / SECOND) * SECOND;
}

// A span of time in words of two units at most: `1 min 20 s`.
export function duration(ms) {
  if (ms < 950) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 9950) return `${(ms / SECOND).toFixed(1).replace(/\.0$/, "")} s`;
  const units = [["d", DAY], ["h", HOUR], ["min", MINUTE], ["s", SECOND]];
  const first = units.findIndex(([, length]) => ms >= length);
  const words = [];
  for (const [name, length] of units.slice(first, first + 2)) {
    const count = Math.floor(ms / length);
    ms -= count * length;
    if (count) words.push(`${count} ${name}`);
  }
  return words.join(" ");
}

// The length of a set's window as a name: `10 s`, `minute`, `hour`, `day`.
export function lengthName(ms) {
  const names = [[MINUTE, "minute"], [HOUR, "hour"], [DAY, "day"], [7 * DAY, "week"]];
  const exact = names.find(([length]) => Math.abs(ms - length) < length / 1000);
  if (exact) return exact[1];
  return ms >= 28 * DAY && ms <= 31 * DAY ? "month" : duration(ms);
}

// A set's window as people say it: start, and end as far as it differs.
export function windowName(start, end, zone) {
  const seconds = (end - start) % MINUTE !== 0;
  if ((end - start) % DAY === 0 && clock(start, zone) === "00:00:00") {
    return end - start === DAY ? day(start, zone) : `${day(start, zone)} to ${day(end - DAY, zone)}`;
  }
  const last = day(start, zone) === day(end, zone) ? "" : `${shortDay(end, zone)} `;
  return `${shortDay(start, zone)} ${clock(start, zone, seconds)} to ${last}${clock(end, zone, seconds)}`;
}

const grouped = new Intl.NumberFormat("en-US");
export const count = (number) => grouped.format(number);
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
