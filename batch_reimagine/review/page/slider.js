// The slider: the original to the left of a line, the variation to the right of it.

import { make } from "./dom.js";
import { originalOver } from "./queue.js";

export class Slider {
  /** root: holds panes. isFree(): whether a drag is the slider's, not a pan. */
  constructor(root, isFree) {
    this._root = root;
    this._range = make("input", {
      type: "range",
      class: "split",
      min: 0,
      max: 100,
      value: 50,
      step: 1,
      "aria-label": "Original to the left of, percent",
    });
    this._range.addEventListener("input", () => this._show());
    const drag = (event) => {
      const frame = event.target.closest?.(".frame");
      if (root.dataset.mode !== "slider" || !(event.buttons & 1) || !frame || !isFree()) return;
      if (event.target === this._range) return;
      const { left, width } = frame.getBoundingClientRect();
      this._range.value = (100 * (event.clientX - left)) / width;
      this._show();
    };
    root.addEventListener("pointerdown", drag);
    root.addEventListener("pointermove", drag);
  }

  /** Put it over a pane, or take it away (null); false if there is nothing to compare. */
  over(pane) {
    for (const under of this._root.querySelectorAll(".under.sliding")) under.remove();
    this._range.remove();
    const stack = pane?.querySelector(".stack[data-original]");
    if (!stack) return false;
    const original = originalOver(stack.dataset.original);
    original.classList.add("sliding");
    stack.append(original);
    stack.parentElement.append(this._range);
    this._show();
    return true;
  }

  _show() {
    this._root.style.setProperty("--split", `${this._range.value}%`);
  }
}
