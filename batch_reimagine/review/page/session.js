// What is open: the products, which of them are asked for, where the user is, and undo.
// It knows nothing of how that looks.

import { NO_FILTER, matches } from "./filters.js";
import { NO_HISTORY, isDecided, redo, remember, undo } from "./state.js";

export class Session {
  constructor(saver, kept, keptHistory) {
    this.saver = saver;
    this._kept = kept;
    this._keptHistory = keptHistory;
    const was = kept.read() ?? {};
    this.view = was.view === "overview" ? "overview" : "queue";
    this.mode = "all"; // of the queue: "all", "two", "loupe" or "slider"
    this.filter = { ...NO_FILTER, ...was.filter };
    this.advance = was.advance ?? true; // a decision goes on to the next product
    this.at = was.at ?? null; // id of the product that is looked at
    this.focus = was.focus ?? 1; // number of its variation that keys are about
    this.about = {}; // what else the server said of the output
    this.running = false;
    this.products = new Map(); // by id, in order of their sources
    this.order = []; // ids of those asked for; stays as it is while decisions change
    this._history = keptHistory.read() ?? NO_HISTORY;
    this._loaded = 0; // when the state that is shown was asked for
    this._told = new Map(); // id → when an event told of it; "run" of the run
  }

  /** Take in all that the server has, without moving what is looked at.
   *
   * since: saver.now() before the server was asked; what events told after that stays. */
  load({ products: read, ...about }, since) {
    if (since < this._loaded) return; // a newer one was faster
    this._loaded = since;
    const isNewer = (id) => this._told.get(id) > since;
    this.about = about;
    if (!isNewer("run")) this.running = about.running;
    const known = this.products;
    const products = read.map((product) => (isNewer(product.id) ? known.get(product.id) : product));
    const there = new Set(read.map(({ id }) => id));
    const more = [...known.values()].filter(({ id }) => !there.has(id) && isNewer(id));
    if (more.length) products.push(...more), products.sort((a, b) => compare(a.source, b.source));
    this.products = new Map(products.map((product) => [product.id, product]));
    for (const { id, revision, choice } of read) this.saver.learn(id, revision, choice, { since });
    const kept = new Set(this.order);
    this.order = products.filter((p) => kept.has(p.id) || this._asked(p)).map((p) => p.id);
    this._land(() => this.order.find((id) => !isDecided(this.choiceOf(id))) ?? this.order[0]);
  }

  /** Take in one product that is new or has changed. */
  take(product) {
    const isNew = !this.products.has(product.id);
    this.products.set(product.id, product);
    this._told.set(product.id, this.saver.now());
    this.saver.learn(product.id, product.revision, product.choice);
    if (isNew) {
      const sorted = [...this.products.values()].sort((a, b) => compare(a.source, b.source));
      this.products = new Map(sorted.map((p) => [p.id, p]));
      const shown = new Set(this.order);
      this.order = sorted.filter((p) => shown.has(p.id) || (p === product && this._asked(p))).map((p) => p.id);
    }
    this._land(() => this.order[0]);
  }

  /** Take in whether a run goes on. */
  ran(running) {
    this._told.set("run", this.saver.now());
    this.running = running;
  }

  /** Ask for other products; the one looked at stays if it is one of them, else the next does. */
  select(filter = this.filter) {
    const after = this.order.slice(Math.max(this.order.indexOf(this.at), 0));
    this.filter = filter;
    this.order = [...this.products.values()].filter((p) => this._asked(p)).map((p) => p.id);
    const shown = new Set(this.order);
    const next = after.find((id) => shown.has(id)) ?? this.order.at(-1);
    if (!shown.has(this.at) && next) this.go(next);
    this.keep();
  }

  _asked(product) {
    return matches(product, this.choiceOf(product.id), this.filter);
  }

  _land(otherwise) {
    if (!this.products.has(this.at)) this.go(otherwise() ?? null);
  }

  get product() {
    return this.products.get(this.at) ?? null;
  }

  /** Of the product looked at; 0 if it is not one of those asked for. */
  get position() {
    return this.order.indexOf(this.at) + 1;
  }

  get decided() {
    let count = 0;
    for (const id of this.products.keys()) count += isDecided(this.choiceOf(id)) ? 1 : 0;
    return count;
  }

  choiceOf(id) {
    return this.saver.choiceOf(id);
  }

  get choice() {
    return this.choiceOf(this.at);
  }

  /** Numbers of its variations that have a picture. */
  get pictures() {
    return (this.product?.variations ?? []).filter((v) => v.status === "done" && !v.missing).map((v) => v.n);
  }

  /** The id so many products on; null past either end. */
  beside(delta) {
    const at = this.order.indexOf(this.at);
    return this.order[at < 0 ? 0 : at + delta] ?? null;
  }

  /** Look at a product: at its main picture, else its first one. */
  go(id, n = null) {
    this.at = id;
    const all = this.product?.variations ?? [];
    this.focus = n ?? this.choice.picked[0] ?? this.pictures[0] ?? all[0]?.n ?? 1;
    this.keep();
  }

  /** Move among its variations. */
  turn(delta) {
    const numbers = this.product?.variations.map((v) => v.n) ?? [];
    const at = Math.max(0, numbers.indexOf(this.focus)) + delta;
    this.focus = numbers[Math.min(Math.max(at, 0), numbers.length - 1)] ?? this.focus;
    this.keep();
  }

  /** Decide about the product looked at; false if that changes nothing. */
  decide(step) {
    const from = this.choice;
    if (!this.saver.add(this.at, step)) return false;
    this._write(remember(this._history, { id: this.at, from, to: this.choice }));
    return true;
  }

  /** Undo or redo, and look at the product it was about; null if there is nothing to. */
  back() {
    return this._replay(undo(this._history));
  }

  forth() {
    return this._replay(redo(this._history));
  }

  _replay(found) {
    if (!found) return null;
    const [history, entry] = found;
    this._write(history);
    if (!this.products.has(entry.id)) return null;
    this.saver.add(entry.id, { do: "change", from: entry.from, to: entry.to });
    this.go(entry.id);
    return entry;
  }

  _write(history) {
    this._history = history;
    this._keptHistory.write(history);
  }

  keep() {
    const { view, filter, advance, at, focus } = this;
    this._kept.write({ view, filter, advance, at, focus });
  }
}

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
