// Decisions on their way to the disk: at once, in order, one at a time for each product.
// What is not saved yet is kept in the tab's session too, so that a reload loses nothing.

import { Trouble, putChoice } from "./api.js";
import { UNDECIDED, apply, applyAll } from "./state.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const MOST_CONFLICTS = 20; // in a row, before it waits like after a failure

export class Saver extends EventTarget {
  /** memory: where steps not saved are kept (a Kept of keep.js). */
  constructor(memory) {
    super();
    this._memory = memory;
    this._base = new Map(); // id → {revision, choice, at}: what the server has
    this._clock = 0; // counts what was learned
    this._held = false;
    this._steps = new Map(Object.entries(memory.read() ?? {})); // id → steps not saved
    this._busy = new Set();
    this._timers = new Map();
    this._failures = new Map(); // id → in a row
    this.trouble = null; // the last Trouble, while something is not saved because of it
    this.refused = null; // what the server would not take, until it takes something again
  }

  /** Steps that are not on the disk yet. */
  get waiting() {
    return [...this._steps.values()].reduce((sum, steps) => sum + steps.length, 0);
  }

  /** "saved", "saving" or "unsaved" (it failed, and is being tried again; or it was refused). */
  get state() {
    if (this.trouble || this.refused || (this._held && this.waiting)) return "unsaved";
    return this.waiting ? "saving" : "saved";
  }

  /** A product's choice as the user sees it. */
  choiceOf(id) {
    const base = this._base.get(id)?.choice ?? UNDECIDED;
    return applyAll(base, this._steps.get(id) ?? []);
  }

  /** The moment, for `learn`: take it before the server is asked. */
  now() {
    this._clock += 1;
    return this._clock;
  }

  /** Take in what the server says; an older word than the one known is passed over.
   *
   * since: when the server was asked. A lower revision counts only if nothing was learned after
   * that: then the server has begun anew. */
  learn(id, revision, choice, { since = 0 } = {}) {
    const known = this._base.get(id);
    if (known && known.revision > revision && known.at > since) return;
    this._base.set(id, { revision, choice: { ...UNDECIDED, ...choice }, at: this.now() });
  }

  /** Save a step, unless it changes nothing. */
  add(id, step) {
    const now = this.choiceOf(id);
    if (apply(now, step) === now) return false;
    this._steps.set(id, [...(this._steps.get(id) ?? []), step]);
    this._tell();
    this._send(id);
    return true;
  }

  /** Send nothing until `retry`: another output may be served here now. */
  hold() {
    this._held = true;
    this._tell();
  }

  /** Try everything again now: the server is back, and is the one that it was. */
  retry() {
    this._held = false;
    for (const id of this._steps.keys()) this._send(id);
  }

  async _send(id) {
    if (this._held || this._busy.has(id) || !this._base.has(id) || !this._steps.get(id)?.length) return;
    clearTimeout(this._timers.get(id));
    this._busy.add(id);
    try {
      for (let conflicts = 0; !this._held && this._steps.get(id)?.length; ) {
        const sent = this._steps.get(id).length;
        const base = this._base.get(id);
        const since = this.now();
        try {
          const answer = await putChoice(id, base.revision, this.choiceOf(id));
          this._settle(id, sent);
          this.learn(id, answer.revision, answer.choice);
          this.refused = null;
          this._failures.delete(id);
          if (this._failures.size === 0) this.trouble = null;
        } catch (error) {
          if (!(error instanceof Trouble) || error.status !== 409) throw error;
          conflicts += 1;
          if (conflicts > MOST_CONFLICTS) throw error;
          this.learn(id, error.body.revision, error.body.choice, { since });
        }
        this._tell();
      }
    } catch (error) {
      this._fail(id, error);
    } finally {
      this._busy.delete(id);
    }
  }

  _settle(id, sent) {
    const rest = this._steps.get(id).slice(sent);
    if (rest.length) this._steps.set(id, rest);
    else this._steps.delete(id);
  }

  _fail(id, error) {
    if (error instanceof Trouble && !error.passes && error.status !== 409) {
      this._steps.delete(id); // the server will never take it: show what counts instead
      this._failures.delete(id);
      if (this._failures.size === 0) this.trouble = null;
      this.refused = error.message;
      this.dispatchEvent(new CustomEvent("refused", { detail: { id, message: error.message } }));
    } else {
      const failures = (this._failures.get(id) ?? 0) + 1;
      this._failures.set(id, failures);
      this.trouble = error;
      if (error.status === 0) this.dispatchEvent(new CustomEvent("lost"));
      const wait = Math.min(FIRST_WAIT_MS * 2 ** (failures - 1), LONGEST_WAIT_MS);
      this._timers.set(id, setTimeout(() => this._send(id), wait * (0.75 + Math.random() / 2)));
    }
    this._tell();
  }

  _tell() {
    this._memory.write(Object.fromEntries(this._steps));
    this.dispatchEvent(new CustomEvent("change"));
  }
}
