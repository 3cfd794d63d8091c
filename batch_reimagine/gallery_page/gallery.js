// A read-only gallery. A classic script: modules do not load from file:// addresses.
// All text of others goes in as textContent; all addresses are relative and made by us.
"use strict";

(() => {
  const { title, products } = window.GALLERY;
  const byId = (id) => document.getElementById(id);
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  // Signs that turn the direction of text would make "gnp.exe" look like "exe.png".
  const turns = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;
  const plain = (text) => text.replace(turns, (sign) => `⟨${sign.codePointAt(0).toString(16).padStart(4, "0")}⟩`);
  const loupe = byId("loupe");
  let shown = products; // that are asked for
  let at = 0; // index of the product in the loupe
  let which = 0; // index of its picture
  let filter = "all";

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  /** Pictures of a product, the picked ones first, the original last. */
  const pictures = (product) => {
    const made = product.pictures.filter((p) => p.file);
    const picked = made.filter((p) => p.rank).sort((a, b) => a.rank - b.rank);
    const original = product.original?.file ? [{ ...product.original, n: 0 }] : [];
    return [...picked, ...made.filter((p) => !p.rank), ...original];
  };

  const ordinal = (n) => {
    const teens = n % 100 >= 11 && n % 100 <= 13;
    return n + (teens ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th"));
  };
  const chosen = (rank) => (rank === 1 ? "main picture" : `${ordinal(rank)} choice`);
  const name = ({ n, rank }) => (n === 0 ? "Original" : `Variation ${n}${rank ? `, ${chosen(rank)}` : ""}`);

  function thumb(product, picture) {
    const { n, rank } = picture;
    const tag = make("span", { class: "tag" }, n === 0 ? "Original" : rank ? `${n} ★${rank > 1 ? rank : ""}` : `${n}`);
    if (!picture.file) return make("div", { class: "thumb gone", "data-n": n }, `${n}: not made`);
    const image = make("img", { alt: `${name(picture)} of ${product.name}`, loading: "lazy", decoding: "async" });
    image.src = picture.thumb ?? picture.file;
    const button = make("button", { type: "button", class: "thumb", "data-n": n, "data-rank": rank || null }, image, tag);
    tag.setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => {
      at = shown.indexOf(product);
      which = pictures(product).findIndex((p) => p.n === n);
      show();
    });
    return button;
  }

  function group(product) {
    const original = product.original?.file ? [thumb(product, { ...product.original, n: 0 })] : [];
    const thumbs = make("div", { class: "thumbs" }, ...original, ...product.pictures.map((p) => thumb(product, p)));
    const heading = make("h2", { title: product.source }, make("bdi", {}, plain(product.name)));
    const item = make("li", { class: "group", "data-product": product.id }, thumbs, heading);
    return item;
  }

  const items = new Map(products.map((product) => [product, group(product)]));

  function ask() {
    const text = fold(byId("search").value.trim());
    shown = products.filter(
      (p) => (filter === "all" || p.pictures.some(({ rank }) => rank)) && fold(p.source).includes(text),
    );
    byId("groups").replaceChildren(...shown.map((product) => items.get(product)));
    byId("empty").hidden = shown.length > 0;
    byId("count").textContent = `${shown.length} of ${products.length} products`;
  }

  /** Show the picture in the loupe, and fetch the ones beside it. */
  function show() {
    const product = shown[at];
    const all = pictures(product);
    const picture = all[which];
    if (!picture) return;
    const image = byId("picture");
    image.src = picture.file;
    image.alt = `${name(picture)} of ${product.name}`;
    byId("loupe-name").replaceChildren(make("bdi", {}, plain(product.name)));
    byId("loupe-what").textContent = `${name(picture)} · ${which + 1} of ${all.length} · product ${at + 1} of ${shown.length}`;
    loupe.dataset.product = product.id;
    loupe.dataset.n = picture.n;
    document.querySelector("[data-action=original]").setAttribute("aria-pressed", picture.n === 0);
    const next = [all[which + 1], all[which - 1], pictures(shown[at + 1] ?? product)[0]];
    for (const near of next) if (near) new Image().src = near.file;
    if (!loupe.open) loupe.showModal();
  }

  const move = (products_) => () => {
    for (let to = at + products_; to >= 0 && to < shown.length; to += products_) {
      if (!pictures(shown[to]).length) continue;
      [at, which] = [to, 0];
      show();
      return;
    }
  };

  let before = 0; // picture that the original was shown instead of
  const actions = {
    up: move(-1),
    down: move(1),
    left: () => turn(-1),
    right: () => turn(1),
    original: () => {
      const all = pictures(shown[at]);
      const original = all.findIndex((p) => p.n === 0);
      if (original < 0) return;
      if (which === original) which = before;
      else [before, which] = [which, original];
      show();
    },
    close: () => loupe.close(),
  };

  function turn(delta) {
    const to = which + delta;
    if (to < 0 || to >= pictures(shown[at]).length) return;
    which = to;
    show();
  }

  const KEYS = { ArrowUp: "up", k: "up", ArrowDown: "down", j: "down", ArrowLeft: "left", ArrowRight: "right", o: "original" };

  loupe.addEventListener("keydown", (event) => {
    const action = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[action]();
  });
  loupe.addEventListener("click", ({ target }) => actions[target.dataset.action]?.());
  loupe.addEventListener("close", () => {
    const item = items.get(shown[at]);
    item.scrollIntoView({ block: "nearest" });
    item.querySelector("button")?.focus({ preventScroll: true });
  });
  let touched = null;
  byId("stage").addEventListener("touchstart", ({ touches }) => (touched = touches.length === 1 ? touches[0].clientX : null), { passive: true });
  byId("stage").addEventListener("touchend", ({ changedTouches }) => {
    const moved = touched === null ? 0 : changedTouches[0].clientX - touched;
    touched = null;
    if (Math.abs(moved) > 60) turn(moved < 0 ? 1 : -1);
  });
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.addEventListener("click", () => {
      ({ filter } = button.dataset);
      for (const each of document.querySelectorAll("[data-filter]")) each.setAttribute("aria-pressed", each === button);
      ask();
    });
  }
  byId("search").addEventListener("input", ask);
  const widest = products.reduce((most, { pictures: all }) => Math.max(most, all.length + 1), 2);
  byId("groups").style.setProperty("--group", `${Math.min(widest, 7) * 112}px`);
  byId("title").textContent = title;
  document.title = title;
  ask();
  document.documentElement.dataset.ready = "";
})();
