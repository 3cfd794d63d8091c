// What the page says: reasons, ranks and money in words. Pure.

import { isDecided, rank, standing } from "./state.js";

const KINDS = {
  rejected: "Refused",
  exhausted: "Failed; a later run tries again",
  unknown: "Not known: its answer was not seen, it may have been paid for",
  making: "Being made …",
};

const SHORT = { done: "gone", rejected: "refused", exhausted: "failed", unknown: "not known", making: "being made" };

/** Why a variation shows no picture, in a word or two. */
export const shortly = (variation) => SHORT[variation.status] ?? variation.status;

/** "1st", "2nd" … */
export function ordinal(n) {
  const teens = n % 100 >= 11 && n % 100 <= 13;
  return `${n}${teens ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th")}`;
}

/** Why a variation shows no picture; null if it has one. */
export function reason(variation) {
  if (variation.status === "done") {
    return variation.missing ? { title: "Its file is gone", detail: "run … --repair makes it again" } : null;
  }
  const title = KINDS[variation.status] ?? variation.status;
  return { title, detail: [variation.reason, variation.message].filter(Boolean).join(": ") };
}

/** What a screen reader says of one variation. */
export function describe(choice, variation, count) {
  const why = reason(variation);
  const place = rank(choice, variation.n);
  const words = [`Variation ${variation.n} of ${count}`];
  if (why) words.push(why.title, why.detail);
  if (place === 1) words.push("picked as main picture");
  else if (place) words.push(`picked as ${ordinal(place)}`);
  else if (standing(choice, variation.n) === "rejected") words.push("rejected");
  return words.filter(Boolean).join(", ");
}

/** A decision in a few words. */
export function decision(choice) {
  if (choice.none) return "none good";
  if (isDecided(choice)) return `picked ${choice.picked.join(", ")}`;
  return choice.rejected.length ? `undecided, rejected ${choice.rejected.join(", ")}` : "undecided";
}

/** price × count, exactly: "0.01", 12 → "0.12". */
export function total(price, count) {
  const [whole, part = ""] = price.split(".");
  const digits = (BigInt(whole + part) * BigInt(count)).toString().padStart(part.length + 1, "0");
  return part ? `${digits.slice(0, -part.length)}.${digits.slice(-part.length)}` : digits;
}

/** "1.2 MB". */
export function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let at = 0;
  for (let rest = bytes; rest >= 1000 && at < units.length - 1; rest /= 1000) at += 1;
  return `${(bytes / 1000 ** at).toFixed(at > 1 ? 1 : 0)} ${units[at]}`;
}

/** "1 picture", "2 pictures". */
export const many = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
