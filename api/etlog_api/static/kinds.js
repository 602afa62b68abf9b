// Kinds of events: a category's prefix and an action, `AllocationSet` + `Saved`.

// In the order in which a set lives through them.
export const STAGES = ["Loaded", "Saved", "Aggregated", "Totaled", "Reconciled"];
export const ERRORS = ["ComputeError", "ReconcileError"];
export const ACTIONS = [...STAGES, ...ERRORS];

export const isError = (action) => ERRORS.includes(action);

// `AllocationSetSaved` -> { prefix: "AllocationSet", action: "Saved" }; null for a text that is no kind.
export function splitKind(kind) {
  const action = ACTIONS.find((name) => kind.endsWith(name));
  return action ? { prefix: kind.slice(0, -action.length), action } : null;
}
