// Which products are asked for. Pure.

import { isDecided } from "./state.js";

const failed = (product) => product.variations.some((v) => v.status !== "done" && v.status !== "making");

/** What can be asked for: key, title, and whether a product with its choice is one of them. */
export const FILTERS = [
  { key: "all", title: "All", test: () => true },
  { key: "undecided", title: "Undecided", test: (_, choice) => !isDecided(choice) },
  { key: "picked", title: "Picked", test: (_, choice) => choice.picked.length > 0 },
  { key: "none", title: "None good", test: (_, choice) => choice.none },
  { key: "rejected", title: "Rejected some", test: (_, choice) => choice.rejected.length > 0 },
  { key: "failed", title: "Failed some", test: failed },
];

/** Everything. */
export const NO_FILTER = Object.freeze({ key: "all", folder: null, text: "" });

/** Whether a product is asked for by {key, folder or null, text}. */
export function matches(product, choice, { key, folder, text }) {
  if (folder !== null && product.folder !== folder) return false;
  if (text && !fold(product.source).includes(fold(text))) return false;
  return (FILTERS.find((filter) => filter.key === key) ?? FILTERS[0]).test(product, choice);
}

/** How many products each filter would show, by its key. */
export function count(products, choiceOf) {
  return new Map(
    FILTERS.map(({ key, test }) => [key, products.filter((p) => test(p, choiceOf(p.id))).length]),
  );
}

/** The folders of the products, sorted. */
export const folders = (products) => [...new Set(products.map((p) => p.folder))].sort();

const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
