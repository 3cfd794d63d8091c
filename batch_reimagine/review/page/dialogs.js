// The dialogs: keys, note, more variations. (Export has its own module.)

import { postMore } from "./api.js";
import { byId, make, plain } from "./dom.js";
import { HELP } from "./keys.js";
import { many, total } from "./words.js";

/** Open a dialog and wait for it; what was submitted with its form's main button, else null. */
export function open(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
  });
}

/** All keys; a switch for those who need theirs for something else. */
export function help() {
  const list = byId("keys");
  if (!list.childElementCount) {
    for (const [key, words] of HELP) {
      list.append(make("div", {}, make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)));
    }
  }
  return open(byId("help"));
}

/** Ask for a note; the new text, or null. */
export async function note(product, text) {
  const area = byId("note-text");
  area.value = text;
  byId("note-of").textContent = plain(product.name);
  const closed = open(byId("note"));
  area.setSelectionRange(text.length, text.length);
  return (await closed) ? area.value.trim() : null;
}

/** Ask once, with the price, and order more; what to say, or null. Throws Trouble. */
export async function more(product, { price, provider }) {
  const count = byId("more-count");
  const cost = byId("more-cost");
  const tell = () => {
    const n = Number(count.value) || 0;
    const money = provider === "simulator" ? "the simulator is free" : "price not known (--price)";
    const sum = price === null || provider === "simulator" ? money : `${total(price, n)} in all, ${price} each`;
    cost.textContent = `${many(n, "variation")}: ${sum}`;
  };
  byId("more-of").textContent = plain(product.name);
  count.oninput = tell;
  tell();
  if (!(await open(byId("more")))) return null;
  const { queued } = await postMore(product.id, Number(count.value));
  return `${many(queued, "variation")} of ${plain(product.name)} asked for; they appear here when they are made`;
}
