// What stands around the pictures: header, marks on buttons, messages.

import { byId, make, named, plain } from "./dom.js";
import { decision, many } from "./words.js";

const TOAST_MS = 6000;
const SAVED = { saved: "Saved", saving: "Saving …" };

export class Screen {
  constructor(session, queue, overview, zoom) {
    this._session = session;
    this._queue = queue;
    this._overview = overview;
    this._zoom = zoom;
    this._pace = null; // what the server says of a run
  }

  /** Bring everything that is seen up to date. */
  render() {
    const { view } = this._session;
    const main = byId("main");
    main.dataset.view = view;
    main.dataset.product = this._session.at ?? "";
    byId("queue").hidden = view !== "queue";
    byId("overview").hidden = view !== "overview";
    byId("view-title").textContent = view === "queue" ? "Queue" : "Overview";
    if (view === "queue") this._queue.render();
    else this._overview.render();
    this._header();
    this._buttons();
    this.saved();
  }

  _header() {
    const { product, position, order, products, decided, about, choice } = this._session;
    byId("name").replaceChildren(named(product ? product.name : (about.output ?? "Review")));
    byId("folder").replaceChildren(named([about.output, product?.folder].filter(Boolean).join(" / ")));
    document.title = product ? `${plain(product.name)} · ${about.output}` : `${about.output ?? "Review"}`;
    byId("position").textContent = `${position || "–"} / ${order.length}`;
    byId("decided").textContent = `${decided} of ${products.size} decided`;
    byId("bar").max = Math.max(products.size, 1);
    byId("bar").value = decided;
    const line = byId("note-line");
    line.hidden = !product || !choice.note;
    line.replaceChildren("Note: ", make("bdi", {}, product ? choice.note : ""));
  }

  _buttons() {
    const { mode, view, advance, about } = this._session;
    const pressed = { [mode]: true, advance, overview: view === "overview", zoom: this._zoom.isZoomed };
    for (const button of document.querySelectorAll("[data-action][aria-pressed]")) {
      button.setAttribute("aria-pressed", pressed[button.dataset.action] ?? false);
    }
    const more = document.querySelector("[data-action=more]");
    more.setAttribute("aria-disabled", !about.more);
    more.title = about.more ? "" : (about.why_no_more ?? "");
  }

  /** Whether everything is on the disk. */
  saved() {
    const { saver } = this._session;
    const saved = byId("saved");
    const was = saved.dataset.saved;
    if (was === saver.state && was !== "unsaved") return;
    saved.dataset.saved = saver.state;
    const why = saver.waiting
      ? `${many(saver.waiting, "change")} not saved: ${saver.trouble?.message ?? "the connection to the server is lost"}`
      : `Not saved: ${saver.refused}`;
    saved.textContent = SAVED[saver.state] ?? why;
    if (was !== "unsaved" && saver.state === "unsaved") this.say(saved.textContent);
    if (was === "unsaved" && saver.state === "saved") this.say("Everything is saved again.");
  }

  /** What a run is doing. */
  run(pace) {
    if (pace) this._pace = pace;
    const line = byId("run");
    line.hidden = !this._session.running;
    const { made, wanted, per_minute: rate } = this._pace ?? {};
    const words = ["A run goes on"];
    if (made !== undefined) words.push(wanted === null ? `${made} made` : `${made} of ${wanted} made`);
    if (rate) words.push(`${Math.round(rate)} a minute`);
    line.textContent = words.join(", ");
  }

  /** For those who hear the page. */
  say(text) {
    byId("said").textContent = text;
  }

  /** Where the user is now, in words. */
  sayPlace(before = "") {
    const { product, position, order, choice } = this._session;
    if (!product) return;
    const place = `${position} of ${order.length}: ${plain(product.name)}, ${decision(choice)}`;
    this.say(before ? `${before}. ${place}` : place);
  }

  toast(text) {
    toast(text);
  }
}

let timer = 0;

/** For everybody, for a while. */
export function toast(text) {
  const shown = byId("toast");
  shown.textContent = text;
  shown.dataset.shown = "yes";
  clearTimeout(timer);
  timer = setTimeout(() => {
    shown.dataset.shown = "no";
    shown.textContent = "";
  }, TOAST_MS);
}
