// The note of an LR file about its origin, read as `coscale upscale` reads it.

import { FileProblem, textOf } from "./png.js";

const KEY = "coscale";
export const LONGEST_NOTE = 65_536; // characters; those that are written have some hundred
const TEXTS = ["rescaler", "weights_hash", "version"];
const NUMBERS = ["scale", "width", "height"];

/** Whether a text has letters, figures, signs and plain spaces alone: nothing that hides, or moves what stands beside it. */
export function isPrintable(text) {
  return typeof text === "string" && /^(?: |[^\p{C}\p{Z}])*$/u.test(text);
}

/** Whether a value is a whole number of something that there is. */
export const isCount = (value) => Number.isInteger(value) && value > 0;

/** A JSON text; its numbers are whole ones that are written as such, or NaN. Null where it is none. */
export function parseNote(text) {
  const whole = (_, value, context) =>
    typeof value === "number" && !(Number.isInteger(value) && /^-?\d+$/.test(context?.source ?? value)) ? NaN : value;
  try {
    return JSON.parse(text, whole);
  } catch {
    return null;
  }
}

/** What a parsed LR file says of its origin. */
export async function originOf(image) {
  const text = await textOf(image, KEY, LONGEST_NOTE);
  if (text === null) {
    throw new FileProblem("does not say how it was made, so it is not an LR file of coscale; give the PNG as it was written.");
  }
  const origin = parseNote(text);
  const isRight =
    origin !== null && TEXTS.every((name) => isPrintable(origin[name])) && NUMBERS.every((name) => isCount(origin[name]));
  if (!isRight) throw new FileProblem("has a damaged note about its origin; give the PNG as coscale wrote it.");
  return origin;
}
