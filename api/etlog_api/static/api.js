// Requests to the API: the token, and errors as one kind with words for people.

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

// A response, whatever its status but for errors, each of which is a Problem. Paths are relative, so that a prefix of a
// proxy stays.
export async function request(path, { headers = {}, signal } = {}) {
  const secret = token.get();
  if (secret) headers.Authorization = `Bearer ${secret}`;
  let response;
  try {
    response = await fetch(path, { headers, signal: signal ?? AbortSignal.timeout(TIMEOUT), cache: "no-store" });
  } catch {
    throw new Problem(0, "the API does not answer");
  }
  if (response.ok || response.status === 304) return response;
  if (response.status === 401 && token.get() !== secret) return request(path, { headers, signal });  // given meanwhile
  const answer = await response.json().catch(() => null);
  throw new Problem(response.status, answer?.message ?? `the API answered ${response.status}`);
}

// The answer to a query with its tag, or null when it is still the one with the given tag.
export async function ask(path, { tag, signal }) {
  const headers = tag ? { "If-None-Match": tag } : {};
  const response = await request(path, { headers, signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]) });
  if (response.status === 304) return null;
  const answer = await parsed(response, "counters");
  return { ...answer, cursor: response.headers.get("Etlog-Cursor"), tag: response.headers.get("ETag") };
}

// The data of an answer, which must have `part`.
export async function dataOf(path, part) {
  return (await parsed(await request(path), part)).data;
}

// The answer in JSON, whose data has `part`: what has not is not an answer of etlog.
async function parsed(response, part) {
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    throw error instanceof SyntaxError ? notEtlog() : new Problem(0, "the answer of the API broke off");
  }
  if (!answer?.data?.[part]) throw notEtlog();
  return answer;
}

// A proxy that wants a login answers 200, too, and so does another service.
export const notEtlog = () => new Problem(0, "the server at this address is not the etlog API");
