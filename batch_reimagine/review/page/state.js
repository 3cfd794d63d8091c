// What a choice is and what each key makes of it. Pure: no page, no network, no clock.
// A choice is never changed; every function returns a new one (or the very same: no change).

/** Nobody has decided anything. */
export const UNDECIDED = Object.freeze({ picked: [], rejected: [], none: false, note: "" });

const MOST_STEPS = 300; // kept for undo

const without = (numbers, ...gone) => numbers.filter((n) => !gone.includes(n));

const make = (picked, rejected, none, note) => ({ picked, rejected, none, note });

/** One step each; `apply` knows them by name. */
const STEPS = {
  // The main picture: moved to the front if picked already, else put in the old main one's place.
  pick: (c, { n }) => {
    const rest = c.picked.includes(n) ? without(c.picked, n) : c.picked.slice(1);
    return make([n, ...rest], without(c.rejected, n), false, c.note);
  },
  add: (c, { n }) =>
    make(c.picked.includes(n) ? c.picked : [...c.picked, n], without(c.rejected, n), false, c.note),
  reject: (c, { n }) =>
    make(without(c.picked, n), [...without(c.rejected, n), n].sort((a, b) => a - b), c.none, c.note),
  clear: (c, { n }) => make(without(c.picked, n), without(c.rejected, n), false, c.note),
  none: (c) => make([], c.rejected, true, c.note),
  only: (c, { n, all }) => make([n], without(all, n), false, c.note),
  note: (c, { text }) => make(c.picked, c.rejected, c.none, text),
  change: (c, { from, to }) => change(c, from, to),
};

/** The choice after a step {do, n?, all?, text?, from?, to?}. */
export function apply(choice, step) {
  const next = STEPS[step.do](choice, step);
  return same(choice, next) ? choice : next;
}

/** All steps, one after the other. */
export const applyAll = (choice, steps) => steps.reduce(apply, choice);

/** Undo and redo: what turned `from` into `to`, done to a choice that others may have changed. */
function change(now, from, to) {
  if (same(now, from)) return to;
  const picked = without(now.picked, ...without(from.picked, ...to.picked));
  for (const n of without(to.picked, ...from.picked, ...picked)) {
    picked.splice(to.picked.indexOf(n), 0, n);
  }
  const rejected = without(now.rejected, ...without(from.rejected, ...to.rejected));
  rejected.push(...without(to.rejected, ...from.rejected, ...rejected));
  const none = from.none === to.none ? now.none : to.none;
  return make(
    picked,
    without(rejected, ...picked).sort((a, b) => a - b),
    none && picked.length === 0,
    from.note === to.note ? now.note : to.note,
  );
}

/** Whether two choices say the same. */
export function same(a, b) {
  const alike = (x, y) => x.length === y.length && x.every((n, at) => n === y[at]);
  return (
    alike(a.picked, b.picked) && alike(a.rejected, b.rejected) && a.none === b.none && a.note === b.note
  );
}

/** Whether somebody has looked and said so. */
export const isDecided = (choice) => choice.none || choice.picked.length > 0;

/** "picked", "rejected" or "open": what was decided about one variation. */
export function standing(choice, n) {
  if (choice.picked.includes(n)) return "picked";
  return choice.rejected.includes(n) || choice.none ? "rejected" : "open";
}

/** 1 for the main picture, 2 for the next; 0 if it is not picked. */
export const rank = (choice, n) => choice.picked.indexOf(n) + 1;

/** Nothing done and nothing undone. */
export const NO_HISTORY = Object.freeze({ done: [], undone: [] });

/** The history after a change {id, from, to}; what was undone before can be redone no more. */
export const remember = (history, entry) => ({
  done: [...history.done, entry].slice(-MOST_STEPS),
  undone: [],
});

/** [history, change to make]; null if there is nothing to undo. */
export function undo({ done, undone }) {
  const entry = done.at(-1);
  if (!entry) return null;
  const back = { id: entry.id, from: entry.to, to: entry.from };
  return [{ done: done.slice(0, -1), undone: [...undone, entry] }, back];
}

/** [history, change to make]; null if there is nothing to redo. */
export function redo({ done, undone }) {
  const entry = undone.at(-1);
  if (!entry) return null;
  return [{ done: [...done, entry], undone: undone.slice(0, -1) }, entry];
}
