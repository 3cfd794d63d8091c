// Making elements. Text goes in as text, never as HTML.

/** An element with attributes (null, false: left out; true: empty, or "true" of aria-…) and children (strings are text). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

// Signs that turn the direction of text would make "gnp.exe" look like "exe.png".
const TURNS = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** A name with such signs made visible. */
export const plain = (text) =>
  text.replace(TURNS, (sign) => `⟨${sign.codePointAt(0).toString(16).padStart(4, "0")}⟩`);

/** A name of the user's, kept from turning the text around it. */
export const named = (text, attributes = {}) => make("bdi", attributes, plain(text));
