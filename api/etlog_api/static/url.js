// The state of the view, which lives in the address, so that a link shows a colleague the same.

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
