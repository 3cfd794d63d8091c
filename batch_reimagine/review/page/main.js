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
import { Screen, toast } from "./screen.js";
import { Session } from "./session.js";
import { Slider } from "./slider.js";
import { Zoom } from "./zoom.js";

const RETRY_MS = 2000;
const LOST_MS = 5000; // the stream of events comes back by itself, most often earlier
let due = false; // the screen is to follow
let timer = 0; // of the next load

const first = await begin();
const kept = (name) => new Kept(first.key, name);
const saver = new Saver(kept("unsaved"));
const session = new Session(saver, kept("place"), kept("history"));
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
const table = actions({ session, screen, queue, overview, zoom, slider, exporting: new ExportDialog(saver) });

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
saver.addEventListener("lost", lost);
window.addEventListener("online", load);
window.addEventListener("beforeunload", warn);

/** The first state; asked for until the server answers. */
async function begin() {
  for (;;) {
    try {
      return await getState();
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      toast(error.message);
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

/** Load everything again; try until the server answers. */
async function load() {
  clearTimeout(timer);
  const since = saver.now();
  try {
    const state = await getState();
    if (state.key !== first.key) {
      // Another output: what is not saved of this one is kept, and waits for its own server.
      saver.hold();
      window.removeEventListener("beforeunload", warn);
      location.reload();
      return;
    }
    clearTimeout(timer);
    session.load(state, since);
    saver.retry();
    screen.run();
    soon();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    toast(error.message);
    if (error.passes && error.status !== 401) later(RETRY_MS);
  }
}

function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(load, wait);
}

/** Nobody knows who answers next: save nothing before `load` has seen. */
function lost() {
  saver.hold();
  later(LOST_MS);
}

function warn(event) {
  if (saver.waiting) event.preventDefault();
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

session.load(first, saver.now());
saver.retry();
screen.run();
table.refresh();
document.documentElement.dataset.ready = "";
live.listen({
  product: (product) => {
    session.take(product);
    soon();
  },
  run: (pace) => {
    session.ran(pace.running);
    screen.run(pace);
  },
  note: (text) => screen.toast(text),
  lost: () => {
    lost();
    screen.say("The connection to the server is lost.");
  },
  again: load,
});
