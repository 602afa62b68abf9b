// Making and changing elements. Text goes in as text, never as markup.

export const $ = (selector) => document.querySelector(selector);

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const draw = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// Set a text only when it differs: nothing is laid out, and no screen reader speaks, for the same again.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // where the page is served neither by https nor from this machine
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = button.textContent;
  if (before === "Copied") return;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = before; }, 1500);
}
