// Where the parts meet.

import { actions } from "./actions.js";
import { Trouble, getState } from "./api.js";
import { byId } from "./dom.js";
import { ExportDialog } from "./export.js";
import { Kept } from "./keep.js";
import * as keys from "./keys.js";
import * as live from "./live.js";
import { Overview } from "./overview.js";
import { Queue } from "./queue.js";
import { Saver } from "./saver.js";
import { Screen } from "./screen.js";
import { Session } from "./session.js";
import { Slider } from "./slider.js";
import { Zoom } from "./zoom.js";

const RETRY_MS = 2000;
let due = false; // the screen is to follow

const saver = new Saver(new Kept("unsaved"));
const session = new Session(saver, new Kept("place"), new Kept("history"));
const root = byId("queue");
const queue = new Queue(session, root);
const zoom = new Zoom(root, (delta) => run(delta > 0 ? "next" : "prev"));
const slider = new Slider(root, () => !zoom.isZoomed);
const overview = new Overview(session, (id, n) => {
  session.view = "queue";
  table.look(id, { n });
  queue.focus();
});
const screen = new Screen(session, queue, overview, zoom);
const table = actions({ session, screen, queue, overview, zoom, slider, exporting: new ExportDialog() });

async function run(action, n) {
  try {
    await table[action](n);
  } catch (error) {
    screen.toast(error instanceof Trouble ? error.message : `Unexpected: ${error.message}`);
    if (!(error instanceof Trouble)) throw error;
  }
}

keys.listen(run, (action) => run(action, false), () => byId("keys-on").checked);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (!button) return;
  run(button.dataset.action, button.dataset.of ? Number(button.dataset.of) : undefined);
  if (event.detail) button.blur(); // keys are about the pictures again, not about this button
});

const hold = document.querySelector("[data-hold=original]");
const held = (on) => {
  hold.setAttribute("aria-pressed", on);
  run("original", on);
};
hold.addEventListener("pointerdown", () => held(true));
for (const name of ["pointerup", "pointerleave", "pointercancel"]) hold.addEventListener(name, () => held(false));
hold.addEventListener("click", ({ detail }) => detail || held(hold.getAttribute("aria-pressed") !== "true"));

root.addEventListener("click", ({ target }) => {
  const n = Number(target.closest(".pane")?.dataset.n ?? 0);
  if (!n || n === session.focus || target.closest("button, input")) return;
  session.focus = n;
  table.refresh();
});
root.addEventListener("dblclick", ({ target }) => target.closest(".frame") && run("loupe"));
root.addEventListener("focusin", ({ target }) => {
  const n = Number(target.dataset.n ?? 0);
  if (target.matches(".pane") && n && n !== session.focus) {
    session.focus = n;
    screen.render();
  }
});

saver.addEventListener("change", soon);
saver.addEventListener("refused", ({ detail }) => {
  screen.toast(`Not saved: ${detail.message}`);
  table.refresh();
});
window.addEventListener("online", () => saver.retry());
window.addEventListener("beforeunload", (event) => saver.waiting && event.preventDefault());

/** Load everything; try again until the server answers. */
async function load() {
  try {
    session.load(await getState());
    saver.retry();
    screen.run();
    table.refresh();
    document.documentElement.dataset.ready = "";
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    screen.toast(error.message);
    if (error.passes && error.status !== 401) setTimeout(load, RETRY_MS);
  }
}

/** Several products may change in one moment; the screen follows once. */
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    const hadFocus = byId("groups").contains(document.activeElement);
    screen.render();
    if (hadFocus) document.querySelector("#groups [data-focus] button")?.focus({ preventScroll: true });
  });
}

await load();
live.listen({
  product: (product) => {
    session.take(product);
    soon();
  },
  run: (pace) => {
    session.running = pace.running;
    screen.run(pace);
  },
  note: (text) => screen.toast(text),
  lost: () => screen.say("The connection to the server is lost."),
  again: load,
});
