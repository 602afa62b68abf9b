// Requests to the API: the token, the validators of answers, and errors as one kind with words for people.

const KEY = "etlog-token";

// What went wrong: `status` of the answer, 0 when there was none.
export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

// Seconds to wait for an answer that is not a stream.
const TIMEOUT = 8000;

// A response, whatever its status but for errors. Paths are relative, so that a prefix of a proxy stays.
export async function request(path, { headers = {}, signal } = {}) {
  const secret = token.get();
  if (secret) headers.Authorization = `Bearer ${secret}`;
  let response;
  try {
    response = await fetch(path, { headers, signal: signal ?? AbortSignal.timeout(TIMEOUT), cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "the API does not answer");
  }
  if (response.ok || response.status === 304) return response;
  if (response.status === 401 && token.get() !== secret) return request(path, { headers, signal });  // given meanwhile
  const answer = await response.json().catch(() => ({}));
  throw new Problem(response.status, answer.message ?? `the API answered ${response.status}`);
}

const tags = new Map();

// The answer to a query, or null when it is the same as last time.
export async function ask(path, { again = false } = {}) {
  const headers = again && tags.has(path) ? { "If-None-Match": tags.get(path) } : {};
  const response = await request(path, { headers });
  if (response.status === 304) return null;
  const answer = await response.json().catch(() => {
    throw new Problem(0, "what answers here is not the API");
  });
  tags.clear();
  tags.set(path, response.headers.get("ETag"));
  return { ...answer, cursor: response.headers.get("Etlog-Cursor") };
}

// The address of what the server has of one log, the default one without a name.
export function pathOf(what, { log }) {
  return `model/etl/${what}${log ? `?log=${encodeURIComponent(log)}` : ""}`;
}

// The address of the log with the filters that the server knows.
export function logPath({ log, window, kinds = [] }) {
  const parameters = new URLSearchParams();
  if (log) parameters.set("log", log);
  if (window) parameters.set("window", window);
  if (kinds.length) parameters.set("kind", kinds.join(","));
  const text = parameters.toString();
  return `model/etl/log${text ? `?${text}` : ""}`;
}
