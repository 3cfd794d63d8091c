// The queue: one product at a time, its original and its variations side by side.

import { pictureUrl, thumbUrl } from "./api.js";
import { make } from "./dom.js";
import { aspectOf, columns } from "./layout.js";
import { picture, preload } from "./pictures.js";
import { rank, standing } from "./state.js";
import { describe, ordinal, reason } from "./words.js";

const AHEAD = 2; // products fetched before they are asked for
const MOST_FULL = 16; // variations shown from their full pictures; more of them from thumbnails
const CHROME_PX = 44;
const GAP_PX = 6;

export class Queue {
  constructor(session, root) {
    this._session = session;
    this._root = root;
    this._shown = null; // id and variations of what is in the panes
    this.panes = new Map(); // number → pane; 0 is the original
    new ResizeObserver(() => this.arrange()).observe(root);
  }

  /** Bring the panes up to date: new ones for another product, marks only for the same. */
  render() {
    const { product } = this._session;
    const is = product && JSON.stringify([product.id, product.variations, product.original]);
    if (is !== this._shown) {
      const hadFocus = this._root.contains(document.activeElement);
      this._build(product);
      this._shown = is;
      if (hadFocus) this.focus();
    }
    this._mark();
    this.arrange();
  }

  /** Give the keyboard's focus to the pane that keys are about. */
  focus() {
    this.panes.get(this._session.focus)?.focus({ preventScroll: true });
  }

  _build(product) {
    this.panes.clear();
    if (!product) {
      this._root.replaceChildren(make("p", { class: "empty" }, "Nothing to look at here yet."));
      return;
    }
    const few = product.variations.length <= MOST_FULL;
    this._url = (n) => (few || n === 0 ? pictureUrl : thumbUrl)(product.id, n);
    this.panes.set(0, this._originalPane(product));
    for (const variation of product.variations) {
      this.panes.set(variation.n, this._variationPane(product, variation));
    }
    this._root.replaceChildren(...this.panes.values());
    this._root.dataset.product = product.id;
    preload(this._urls(product), this._next());
  }

  _urls(product) {
    const shown = product.variations.filter((v) => !reason(v)).slice(0, MOST_FULL + 1);
    const url = shown.length > MOST_FULL ? thumbUrl : pictureUrl;
    const original = product.original ? [pictureUrl(product.id, 0)] : [];
    return [...original, ...shown.map((v) => url(product.id, v.n))];
  }

  _next() {
    const ids = [...Array(AHEAD).keys()].map((n) => this._session.beside(n + 1));
    return [...ids, this._session.beside(-1)]
      .map((id) => this._session.products.get(id))
      .flatMap((product) => (product ? this._urls(product) : []));
  }

  _originalPane(product) {
    const why = product.original
      ? null
      : { title: "Original not found", detail: "It was moved, changed or deleted since the run." };
    return make(
      "div",
      { class: "pane original", "data-n": 0, role: "group", "aria-label": "Original", tabindex: -1 },
      this._frame(0, why, `Original of ${product.name}`),
      make("div", { class: "caption" }, make("span", { class: "badge" }, "Original")),
    );
  }

  _variationPane(product, variation) {
    const { n } = variation;
    const why = reason(variation);
    const act = (action, label, text, title) =>
      make("button", { type: "button", "data-action": action, "data-of": n, "aria-label": `${label} ${n}`, title }, text);
    const buttons = why
      ? []
      : [
          act("pick", "Pick as main and go on:", "Pick", `${n}`),
          act("add", "Add as next:", "+", `Shift+${n}`),
          act("reject", "Reject:", "×", "X"),
          act("clear", "Clear:", "↺", "U"),
        ];
    return make(
      "div",
      { class: "pane", "data-n": n, "data-status": variation.missing ? "missing" : variation.status, role: "group", tabindex: -1 },
      this._frame(n, why, `Variation ${n} of ${product.name}`, product.original ? pictureUrl(product.id, 0) : null),
      make(
        "div",
        { class: "caption" },
        make("span", { class: "badge" }, String(n)),
        make("span", { class: "rank" }),
        make("span", { class: "buttons" }, ...buttons),
      ),
    );
  }

  /** What is seen of one picture, or why there is none. */
  _frame(n, why, alt, original = null) {
    if (why) {
      const words = [make("strong", {}, why.title), make("span", {}, why.detail)];
      return make("div", { class: "frame" }, make("div", { class: "why" }, ...words));
    }
    const { image, ready } = picture(this._url(n));
    image.alt = alt;
    image.className = "picture";
    const stack = make("div", { class: "stack" }, image, make("span", { class: "mark" }));
    const frame = make("div", { class: "frame" }, stack);
    if (original) stack.dataset.original = original;
    if (!image.complete) frame.dataset.loading = "";
    ready.then((good) => {
      delete frame.dataset.loading;
      if (good) {
        stack.style.setProperty("--aspect", image.naturalWidth / image.naturalHeight);
        return;
      }
      const text = "This picture cannot be shown: its file is gone or cannot be read.";
      frame.replaceChildren(make("div", { class: "why" }, make("strong", {}, text)));
    });
    return frame;
  }

  /** Show what was decided, and which variation keys are about. */
  _mark() {
    const { product, choice, focus } = this._session;
    for (const variation of product?.variations ?? []) {
      const pane = this.panes.get(variation.n);
      const place = rank(choice, variation.n);
      pane.dataset.state = standing(choice, variation.n);
      pane.dataset.rank = place;
      pane.setAttribute("aria-label", describe(choice, variation, product.variations.length));
      pane.querySelector(".rank").textContent = place ? (place === 1 ? "main" : ordinal(place)) : "";
      pane.toggleAttribute("data-focus", variation.n === focus);
      if (variation.n === focus) pane.setAttribute("aria-current", "true");
      else pane.removeAttribute("aria-current");
      pane.tabIndex = variation.n === focus ? 0 : -1;
    }
  }

  /** Which panes are seen in this mode, in the grid that makes them largest. */
  arrange() {
    const { product, mode, focus } = this._session;
    if (!product) return;
    const seen = { all: [...this.panes.keys()], loupe: [focus], slider: [focus], two: [this._other(), focus] }[mode];
    for (const [n, pane] of this.panes) pane.hidden = !seen.includes(n);
    this._root.dataset.mode = mode;
    const { clientWidth: width, clientHeight: height } = this._root;
    const room = { width, height, aspect: aspectOf(product), chrome: CHROME_PX, gap: GAP_PX };
    const across = columns(seen.length, room);
    this._root.style.setProperty("--columns", across);
    this._root.style.setProperty("--rows", Math.ceil(seen.length / across));
  }

  /** What two-up shows beside the focus: the main pick, or the original. */
  _other() {
    const [main] = this._session.choice.picked;
    return main && main !== this._session.focus && this.panes.has(main) ? main : 0;
  }

  /** Lay the original over every variation, in place. */
  holdOriginal(on) {
    if (on) {
      for (const stack of this._root.querySelectorAll(".stack[data-original]:not(:has(.under))")) {
        stack.append(originalOver(stack.dataset.original));
      }
    }
    this._root.toggleAttribute("data-held", on);
  }
}

/** Another image element of the original, to lie over a variation. */
export function originalOver(url) {
  const image = make("img", { class: "under", src: url, alt: "Original", draggable: "false" });
  image.decoding = "sync";
  return image;
}
