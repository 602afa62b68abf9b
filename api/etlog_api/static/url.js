// Addresses: that of the page, which holds the view, so that a link shows a colleague the same; and those of the API.

const EMPTY = { log: "", window: "", kinds: [], category: "", q: "", set: "", zone: "local" };

export function fromAddress(search) {
  const given = new URLSearchParams(search);
  return {
    log: given.get("log") ?? "",
    window: given.get("window") ?? "",
    kinds: (given.get("kind") ?? "").split(",").filter(Boolean),
    category: given.get("category") ?? "",
    q: given.get("q") ?? "",
    set: /^[^/]+\/[^/]+$/.test(given.get("set") ?? "") ? given.get("set") : "",
    zone: given.get("zone") === "pipeline" ? "pipeline" : "local",
  };
}

// The part of the address from `?` on, empty when nothing is set.
export function toAddress(view) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...EMPTY, ...view, kinds: view.kinds.join(",") })) {
    if (value && value !== EMPTY[name]) parameters.set(name === "kinds" ? "kind" : name, value);
  }
  const text = parameters.toString();
  return text ? `?${text}` : "";
}

// Whether a window of the server's forms reaches to the present, so that something in it may be due.
export function reachesNow(window) {
  return window === "" || /^(today|week|month|\d+[mhdw]|[^,]+,)$/.test(window);
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
