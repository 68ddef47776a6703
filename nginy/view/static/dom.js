// Elements with text and attributes. Text is only ever set as text, so no name can become markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, parts) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) node.setAttribute(name, value);
  }
  node.append(...parts);
  return node;
}

export const el = (tag, attributes = {}, ...parts) =>
  filled(document.createElement(tag), attributes, parts);
export const svg = (tag, attributes = {}, ...parts) =>
  filled(document.createElementNS(SVG, tag), attributes, parts);

export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function panel(title, ...parts) {
  return el("section", { class: "panel", "aria-label": title }, el("h3", {}, title), ...parts);
}

export const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
