// Which key does what. Pure, but for the last function.

/** What the help says, and in this order. */
export const HELP = [
  ["1 – 9", "Pick that variation as the main picture, and go on"],
  ["Shift + 1 – 9", "Add it as 2nd, 3rd …"],
  ["0", "None is good, and go on"],
  ["↑ ↓ or K J", "Product before, product after"],
  ["← →", "Variation to the left, to the right"],
  ["P", "Pick the variation in focus (as the next rank)"],
  ["X", "Reject it"],
  ["U", "Clear what was decided about it"],
  ["Shift + P", "This one, reject the rest, and go on"],
  ["hold O", "The original in place"],
  ["S", "Slider against the original"],
  ["C", "Two-up: beside the main picture, or the original"],
  ["N", "All variations"],
  ["Z or wheel", "Zoom all panes; with Shift one pane; drag to pan"],
  ["G", "Overview"],
  ["Enter", "Loupe: one picture alone; in the overview: open"],
  ["Esc", "Back"],
  ["T", "Note"],
  ["Ctrl + Z", "Undo; also after a reload"],
  ["Ctrl + Y or Shift + Ctrl + Z", "Redo"],
  ["A", "Go on after a decision: on, off"],
  ["M", "More variations of this one"],
  ["E", "Export"],
  ["F", "Full screen"],
  ["?", "These keys"],
];

const LETTERS = {
  j: "next",
  k: "prev",
  p: "mark",
  x: "reject",
  u: "clear",
  o: "original",
  s: "slider",
  c: "two",
  n: "all",
  z: "zoom",
  g: "overview",
  f: "full",
  t: "note",
  a: "advance",
  m: "more",
  e: "export",
};

const NAMED = {
  ArrowUp: "up",
  ArrowDown: "down",
  ArrowLeft: "left",
  ArrowRight: "right",
  Enter: "enter",
  Escape: "back",
};

/** {action, n} for a key, n being its digit; null for a key that is not ours. */
export function actionOf({ key, code, ctrlKey, metaKey, shiftKey, altKey }) {
  if (altKey) return null;
  const letter = letterOf(key, code);
  if (ctrlKey || metaKey) {
    if (letter === "z") return { action: shiftKey ? "redo" : "undo" };
    return letter === "y" && !shiftKey ? { action: "redo" } : null;
  }
  if (key in NAMED) return { action: NAMED[key] };
  if (key === "?") return { action: "help" };
  // The place of the key, not its letter: on many layouts digits need Shift.
  const digit = /^Digit([0-9])$/.exec(code)?.[1] ?? (/^Numpad/.test(code) && /^[0-9]$/.test(key) ? key : null);
  if (digit === "0") return shiftKey ? null : { action: "none" };
  if (digit) return { action: shiftKey ? "add" : "pick", n: Number(digit) };
  if (shiftKey) return letter === "p" ? { action: "only" } : letter === "z" ? { action: "zoomOne" } : null;
  return letter in LETTERS ? { action: LETTERS[letter] } : null;
}

// Where letters are not Latin, the place of the key counts.
function letterOf(key, code) {
  const letter = key.toLowerCase();
  if (/^[a-z]$/.test(letter)) return letter;
  return /^\P{ASCII}$/u.test(key) ? (/^Key([A-Z])$/.exec(code)?.[1].toLowerCase() ?? "") : "";
}

const WORKS_ENTER = "button, a, summary, select";

/** Call act(action, n) for each of our keys, and release("original") when its key comes up. */
export function listen(act, release, isOn) {
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const found = actionOf(event);
    if (!found) return;
    const typing = target.matches("input:not([type=range]):not([type=checkbox]), textarea, select");
    if (typing) {
      if (found.action === "back") target.blur();
      return;
    }
    if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    if (found.action === "enter" && target.matches(WORKS_ENTER) && !target.closest("[data-group]")) return;
    if (!isOn() && !event.ctrlKey && !event.metaKey && event.key.length === 1) return;
    const again = ["up", "down", "left", "right", "next", "prev", "undo", "redo"];
    event.preventDefault();
    if (!event.repeat || again.includes(found.action)) act(found.action, found.n);
  });
  document.addEventListener("keyup", (event) => {
    if (letterOf(event.key, event.code) === "o") release("original");
  });
  window.addEventListener("blur", () => release("original"));
}
