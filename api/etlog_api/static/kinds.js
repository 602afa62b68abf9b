// Kinds of events: a category's prefix and an action, `AllocationSet` + `Saved`. The server names the actions.

import settings from "./settings.js"; // made by the server

const named = (errors) => settings.actions.filter(({ is_error: error }) => error === errors).map(({ name }) => name);

// In the order in which a set lives through them.
export const STAGES = named(false);
export const ERRORS = named(true);
export const ACTIONS = [...STAGES, ...ERRORS];

export const isError = (action) => ERRORS.includes(action);

// `AllocationSetSaved` -> { prefix: "AllocationSet", action: "Saved" }; null for a text that is not a kind.
export function splitKind(kind) {
  const action = ACTIONS.find((name) => kind.endsWith(name));
  return action ? { prefix: kind.slice(0, -action.length), action } : null;
}
