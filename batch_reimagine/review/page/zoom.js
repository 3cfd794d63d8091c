// Zoom, pan, pinch and swipe: all panes move together, or with Shift the one under the pointer.

const MOST = 16;
const SWIPE_PX = 60;
const FIT = Object.freeze({ z: 1, x: 0, y: 0 });

/** Zoomed by a factor about (cx, cy). All in fractions of a pane, from its middle. */
export function zoomed({ z, x, y }, factor, cx, cy) {
  const next = Math.min(Math.max(z * factor, 1), MOST);
  const by = next / z;
  return inside({ z: next, x: cx - (cx - x) * by, y: cy - (cy - y) * by });
}

/** Kept from leaving its pane. */
export function inside({ z, x, y }) {
  const most = (z - 1) / 2;
  const within = (value) => Math.min(Math.max(value, -most), most);
  return { z, x: within(x), y: within(y) };
}

export class Zoom {
  /** root: holds panes. swiped(-1 | 1): a finger went right or left over a picture not zoomed. */
  constructor(root, swiped) {
    this._root = root;
    this._swiped = swiped;
    this._all = FIT;
    this._own = new Map(); // pane → its own
    this._pointers = new Map(); // id → where it is
    root.addEventListener("wheel", (event) => this._wheel(event), { passive: false });
    root.addEventListener("pointerdown", (event) => this._down(event));
    root.addEventListener("pointermove", (event) => this._move(event));
    root.addEventListener("pointerup", (event) => this._up(event));
    root.addEventListener("pointercancel", (event) => this._pointers.delete(event.pointerId));
  }

  get isZoomed() {
    return this._all.z > 1 || [...this._own.values()].some(({ z }) => z > 1);
  }

  /** Everything fits again. */
  reset() {
    this._all = FIT;
    for (const pane of this._own.keys()) show(pane, null);
    this._own.clear();
    this._show();
  }

  /** Between fitting and one pixel of the picture on one of the screen. */
  toggle(pane, one) {
    if (this._of(pane).z > 1) {
      this.reset();
      return;
    }
    const image = pane.querySelector("img.picture");
    if (!image) return;
    const { width, height } = image.getBoundingClientRect();
    const shown = Math.min(width / image.naturalWidth, height / image.naturalHeight);
    const real = 1 / (shown * devicePixelRatio);
    this._set(pane, one, zoomed(FIT, real > 1.05 ? real : 2, 0, 0));
  }

  _of(pane) {
    return this._own.get(pane) ?? this._all;
  }

  _set(pane, one, state) {
    if (one || this._own.has(pane)) {
      this._own.set(pane, state);
      show(pane, state);
    } else {
      this._all = state;
    }
    this._show();
  }

  _show() {
    show(this._root, this._all);
    this._root.toggleAttribute("data-zoomed", this.isZoomed);
  }

  _wheel(event) {
    const pane = event.target.closest(".pane");
    if (!pane) return;
    event.preventDefault();
    const turned = event.deltaY || event.deltaX; // with Shift, some browsers turn it sideways
    const factor = Math.exp(-Math.sign(turned) * Math.min(Math.abs(turned), 200) * 0.002);
    const [cx, cy] = place(pane, event);
    this._set(pane, event.shiftKey, zoomed(this._of(pane), factor, cx, cy));
  }

  _down(event) {
    if (!event.target.closest(".frame") || event.button !== 0) return;
    if (event.target.closest("input, button")) return;
    const pane = event.target.closest(".pane");
    const [x, y] = [event.clientX, event.clientY];
    this._pointers.set(event.pointerId, { x, y, fromX: x, fromY: y, pane });
    if (this._pointers.size === 1) this._alone = true;
    if (this.isZoomed) this._root.setPointerCapture(event.pointerId);
  }

  _move(event) {
    const was = this._pointers.get(event.pointerId);
    if (!was) return;
    const now = { ...was, x: event.clientX, y: event.clientY };
    const { pane } = was;
    const { width, height } = pane.querySelector(".frame").getBoundingClientRect();
    const state = this._of(pane);
    const other = [...this._pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      this._alone = false;
      const apart = (a) => Math.hypot(a.x - other.x, a.y - other.y) || 1;
      const [cx, cy] = place(pane, { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 });
      this._set(pane, false, zoomed(state, apart(now) / apart(was), cx, cy));
    } else if (state.z > 1) {
      const moved = { z: state.z, x: state.x + (now.x - was.x) / width, y: state.y + (now.y - was.y) / height };
      this._set(pane, event.shiftKey, inside(moved));
    }
    this._pointers.set(event.pointerId, now);
  }

  _up(event) {
    const was = this._pointers.get(event.pointerId);
    this._pointers.delete(event.pointerId);
    if (!was || !this._alone || event.pointerType === "mouse" || this.isZoomed) return;
    const [dx, dy] = [event.clientX - was.fromX, event.clientY - was.fromY];
    if (Math.abs(dx) > SWIPE_PX && Math.abs(dx) > 2 * Math.abs(dy)) this._swiped(dx < 0 ? 1 : -1);
  }
}

function place(pane, { clientX, clientY }) {
  const { left, top, width, height } = pane.querySelector(".frame").getBoundingClientRect();
  return [(clientX - left) / width - 0.5, (clientY - top) / height - 0.5];
}

function show(element, state) {
  for (const name of ["z", "x", "y"]) {
    if (state === null) element.style.removeProperty(`--${name}`);
    else element.style.setProperty(`--${name}`, state[name]);
  }
}
