// What each key and button does. All of them end in the screen brought up to date.

import * as dialogs from "./dialogs.js";
import { isDecided } from "./state.js";
import { decision, reason } from "./words.js";

/** A table of functions by name; each may be given a variation's number. */
export function actions({ session, screen, queue, overview, zoom, slider, exporting }) {
  const inQueue = () => session.view === "queue";

  const look = (id, { n = null, said = "" } = {}) => {
    if (id === null) return;
    if (id !== session.at) zoom.reset();
    session.go(id, n);
    if (session.mode !== "all" && inQueue()) session.mode = session.mode === "slider" ? "all" : session.mode;
    refresh();
    screen.sayPlace(said);
  };

  const refresh = () => {
    screen.render();
    if (!inQueue()) {
      overview.focus();
      return;
    }
    slider.over(session.mode === "slider" ? (queue.panes.get(session.focus) ?? null) : null);
  };

  const mode = (name) => () => {
    if (!inQueue() || !session.product) return;
    session.mode = session.mode === name ? "all" : name;
    zoom.reset();
    refresh();
    if (session.mode === "slider" && !document.querySelector(".split")) {
      session.mode = "all";
      refresh();
      screen.toast("There is no original, or no picture, to compare here.");
    }
  };

  /** Decide, and go on if asked to. */
  const decide = (step, { on = false } = {}) => {
    if (!session.product) return;
    const { at } = session;
    session.decide(step);
    const said = decision(session.choiceOf(at));
    const next = on && session.advance ? session.beside(1) : null;
    if (next) {
      look(next, { said });
      return;
    }
    refresh();
    screen.say(said);
    if (on && session.advance) atEnd();
  };

  const atEnd = () => {
    const open = session.order.filter((id) => !isDecided(session.choiceOf(id))).length;
    screen.toast(open ? `That was the last one; ${open} are undecided.` : "All are decided. E exports the picks.");
  };

  /** A step about one variation that has a picture. */
  const about = (make, options) => (n = session.focus) => {
    const variation = session.product?.variations.find((v) => v.n === n);
    const why = variation && reason(variation);
    if (!variation || why) {
      screen.toast(variation ? `Variation ${n}: ${why.title}. ${why.detail}` : `There is no variation ${n}.`);
      return;
    }
    session.focus = n;
    decide(make(n), options);
  };

  const beside = (delta) => () => {
    const id = session.beside(delta);
    if (id === null) screen.toast(delta > 0 ? "That is the last one." : "That is the first one.");
    look(id);
  };

  const turn = (delta) => () => {
    if (!inQueue()) {
      beside(delta)();
      return;
    }
    session.turn(delta);
    zoom.reset();
    refresh();
    queue.focus();
  };

  const row = (delta) => () => {
    if (inQueue()) beside(delta)();
    else if (session.beside(delta * overview.across)) look(session.beside(delta * overview.across));
  };

  const replay = (entry, what) => {
    if (!entry) screen.toast(`There is nothing to ${what}.`);
    else look(entry.id, { said: what === "undo" ? "Undone" : "Redone" });
  };

  const show = (view) => {
    session.view = view;
    session.mode = "all";
    zoom.reset();
    if (view === "overview") session.select();
    session.keep();
    refresh();
    if (view === "queue") queue.focus();
    screen.sayPlace(view === "queue" ? "Queue" : "Overview");
  };

  const table = {
    look,
    refresh,
    pick: about((n) => ({ do: "pick", n }), { on: true }),
    add: about((n) => ({ do: "add", n })),
    mark: about((n) => ({ do: "add", n })),
    reject: about((n) => ({ do: "reject", n })),
    clear: about((n) => ({ do: "clear", n })),
    only: about((n) => ({ do: "only", n, all: session.pictures }), { on: true }),
    none: () => decide({ do: "none" }, { on: true }),
    next: beside(1),
    prev: beside(-1),
    up: row(-1),
    down: row(1),
    left: turn(-1),
    right: turn(1),
    undo: () => replay(session.back(), "undo"),
    redo: () => replay(session.forth(), "redo"),
    all: () => session.mode !== "all" && mode("all")(),
    two: mode("two"),
    loupe: mode("loupe"),
    slider: mode("slider"),
    enter: () => (inQueue() ? table.loupe() : show("queue")),
    overview: () => show(inQueue() ? "overview" : "queue"),
    zoom: () => inQueue() && enlarge(false),
    zoomOne: () => inQueue() && enlarge(true),
    original: (on = true) => inQueue() && queue.holdOriginal(on),
    back: () => {
      if (zoom.isZoomed) zoom.reset();
      else if (inQueue() && session.mode !== "all") session.mode = "all";
      else if (inQueue()) return show("overview");
      return refresh();
    },
    full: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
    advance: () => {
      session.advance = !session.advance;
      session.keep();
      refresh();
      screen.toast(session.advance ? "A decision goes on to the next product." : "A decision stays on its product.");
    },
    help: () => dialogs.help(),
    export: () => exporting.open(session.about.presets ?? []),
    note: async () => {
      const { at, product, choice } = session;
      const text = product && (await dialogs.note(product, choice.note));
      if (typeof text === "string" && session.at === at) decide({ do: "note", text });
    },
    more: async () => {
      if (!session.about.more) screen.toast(session.about.why_no_more ?? "No more can be made here.");
      else if (session.product) {
        const said = await dialogs.more(session.product, session.about);
        if (said) screen.toast(said);
      }
    },
  };

  const enlarge = (one) => {
    const pane = queue.panes.get(session.focus);
    if (pane) zoom.toggle(pane, one);
    screen.render();
  };

  return table;
}
