// The overview: all products that are asked for, as a grid of groups.

import { thumbUrl } from "./api.js";
import { byId, make, named } from "./dom.js";
import { FILTERS, count, folders } from "./filters.js";
import { rank, standing } from "./state.js";
import { decision, many, reason, shortly } from "./words.js";

const AT_ONCE = 120; // groups made before the end of the page is near
const MOST_THUMBS = 12; // of one product
const LONGEST_ROW = 7; // thumbnails side by side in a group
const THUMB_PX = 112; // about; a group is as wide as its row

export class Overview {
  /** opened(id, n): a group was clicked, at variation n. */
  constructor(session, opened) {
    this._session = session;
    this._grid = byId("groups");
    this._groups = new Map(); // id → {item, product, choice}
    this._filters = make("div", { role: "group", "aria-label": "Show", class: "chips" });
    byId("filters").prepend(this._filters);
    for (const { key, title } of FILTERS) {
      const chip = make("button", { type: "button", "data-filter": key }, `${title} `, make("b"));
      chip.addEventListener("click", () => this._ask({ key }));
      this._filters.append(chip);
    }
    byId("folders").addEventListener("change", ({ target }) =>
      this._ask({ folder: target.selectedIndex === 0 ? null : target.value }),
    );
    byId("search").addEventListener("input", ({ target }) => this._ask({ text: target.value.trim() }));
    this._grid.addEventListener("click", ({ target }) => {
      const group = target.closest("[data-product]");
      if (group) opened(group.dataset.product, Number(target.dataset.n) || null);
    });
    new IntersectionObserver((seen) => seen.some((s) => s.isIntersecting) && this._grow(), {
      rootMargin: "1500px",
    }).observe(byId("more-below"));
  }

  _ask(part) {
    this._session.select({ ...this._session.filter, ...part });
    this._grid.parentElement.scrollTop = 0;
    this.render();
  }

  /** Bring everything up to date. */
  render() {
    const { order, products, filter, at } = this._session;
    const counts = count([...products.values()], (id) => this._session.choiceOf(id));
    for (const chip of this._filters.children) {
      chip.setAttribute("aria-pressed", chip.dataset.filter === filter.key);
      chip.querySelector("b").textContent = counts.get(chip.dataset.filter);
    }
    this._renderFolders(filter.folder);
    if (document.activeElement !== byId("search")) byId("search").value = filter.text;
    byId("none-asked").hidden = order.length > 0;
    const widest = order.reduce((most, id) => Math.max(most, products.get(id).variations.length + 1), 2);
    this._grid.style.setProperty("--group", `${Math.min(widest, LONGEST_ROW) * THUMB_PX}px`);
    const known = new Set(order);
    for (const [id, { item }] of this._groups) {
      if (known.has(id)) continue;
      item.remove();
      this._groups.delete(id);
    }
    const wanted = Math.max(this._groups.size, AT_ONCE, order.indexOf(at) + 1);
    this._make(Math.min(wanted, order.length));
  }

  _renderFolders(current) {
    const all = folders([...this._session.products.values()]);
    const select = byId("folders");
    if (select.length !== all.length + 1) {
      const options = all.map((folder) => make("option", { value: folder }, folder || "(top folder)"));
      select.replaceChildren(make("option", {}, "All folders"), ...options);
    }
    select.selectedIndex = all.indexOf(current) + 1;
  }

  _grow() {
    const { order } = this._session;
    if (this._grid.offsetParent && this._groups.size < order.length) {
      this._make(Math.min(this._groups.size + AT_ONCE, order.length));
    }
  }

  /** The first so many groups, each in its place; those that are right are left alone. */
  _make(wanted) {
    const { order, products, at } = this._session;
    let before = null;
    for (const id of order.slice(0, wanted)) {
      const product = products.get(id);
      const choice = this._session.choiceOf(id);
      let group = this._groups.get(id);
      if (group?.product !== product || group.choice !== choice) {
        const hadFocus = group?.item.contains(document.activeElement);
        const item = this._group(product, choice);
        group?.item.replaceWith(item);
        group = { item, product, choice };
        this._groups.set(id, group);
        if (hadFocus) item.firstChild.focus({ preventScroll: true });
      }
      const next = before ? before.nextSibling : this._grid.firstChild;
      if (group.item !== next) this._grid.insertBefore(group.item, next);
      group.item.toggleAttribute("data-focus", id === at);
      group.item.firstChild.tabIndex = id === at ? 0 : -1;
      before = group.item;
    }
    for (const id of order.slice(wanted)) {
      this._groups.get(id)?.item.remove();
      this._groups.delete(id);
    }
  }

  _group(product, choice) {
    const shown = product.variations.slice(0, MOST_THUMBS);
    const hidden = product.variations.length - shown.length;
    const thumbs = [
      product.original ? thumb(product.id, 0, "") : make("span", { class: "thumb why" }, "no original"),
      ...shown.map((v) => variationThumb(product, v, choice)),
      hidden > 0 ? make("span", { class: "thumb why" }, `+${hidden}`) : null,
    ];
    const failed = product.variations.filter((v) => reason(v)).length;
    const words = [
      decision(choice),
      choice.note ? "note" : "",
      failed ? `${failed} without picture` : "",
    ].filter(Boolean);
    const variations = `, ${many(product.variations.length, "variation")}, `;
    const state = choice.none ? "none" : choice.picked.length ? "picked" : "open";
    return make(
      "li",
      { class: "group", "data-product": product.id, "data-state": state },
      make(
        "button",
        { type: "button", "data-group": true, tabindex: -1 },
        make("span", { class: "thumbs", "aria-hidden": true }, ...thumbs),
        make(
          "span",
          { class: "line" },
          named(product.name, { class: "name", title: product.source }),
          make("span", { class: "unseen" }, variations),
          make("span", { class: "decision" }, words.join(" · ")),
        ),
      ),
    );
  }

  /** How many groups stand side by side. */
  get across() {
    const items = [...this._groups.values()].map(({ item }) => item.offsetTop);
    return Math.max(1, items.filter((top) => top === items[0]).length);
  }

  /** Scroll the group looked at into view and give it the keyboard's focus. */
  focus() {
    const item = this._groups.get(this._session.at)?.item;
    item?.firstChild.focus({ preventScroll: true });
    item?.scrollIntoView({ block: "nearest" });
  }
}

function thumb(id, n, mark) {
  const image = make("img", { src: thumbUrl(id, n), alt: "", loading: "lazy", decoding: "async", "data-n": n });
  return make("span", { class: "thumb", "data-n": n, "data-mark": mark || null }, image);
}

function variationThumb(product, variation, choice) {
  const { n } = variation;
  const why = reason(variation);
  const place = rank(choice, n);
  const element = why ? make("span", { class: "thumb why", "data-n": n }, shortly(variation)) : thumb(product.id, n, "");
  element.dataset.state = standing(choice, n);
  element.dataset.rank = place;
  element.append(make("span", { class: "number" }, place ? `${n} ★${place > 1 ? place : ""}` : String(n)));
  return element;
}
