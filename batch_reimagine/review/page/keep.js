// Small things kept in the tab's session: they survive a reload and nothing else.

/** One value under a name, for one output: another may be served at the same address later.
 * key: the output's, of /api/state. What the browser refuses to keep is not kept, and that harms
 * nothing. */
export class Kept {
  constructor(key, name) {
    this._name = `batch-reimagine:${key}:${name}`;
  }

  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this._name));
    } catch {
      return null;
    }
  }

  write(value) {
    try {
      sessionStorage.setItem(this._name, JSON.stringify(value));
    } catch {
      // Full or forbidden.
    }
  }
}
