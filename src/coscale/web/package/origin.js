// The note of an LR file about its origin, read as `coscale upscale` reads it.

import { noteOf } from "./lr.js";
import { FileProblem } from "./png.js";

const KEY = "coscale";
export const LONGEST_NOTE = 65_536; // characters; those that are written have some hundred, or some thousand with areas
const TEXTS = ["rescaler", "weights_hash", "version"];
const NUMBERS = ["scale", "width", "height"];
const LEVELS = 256; // that an upscaler may be told of a codec
const HASH = /^(?:[0-9a-f]{16}|[0-9a-f]{64})?$/; // of weights; short where notes have to be
const LONGEST_NAME = 200; // characters of a stranger's text that are shown

/** Whether a text has letters, figures, signs and plain spaces alone: nothing that hides, or moves what stands beside it. */
export function isPrintable(text) {
  return typeof text === "string" && /^(?: |[^\p{C}\p{Z}])*$/u.test(text);
}

/** A name or a message of a stranger's: what hides or moves other letters is made visible, and there is not too much of it. */
export function shown(text) {
  const plain = text.replace(/[^ \P{Z}]|\p{C}/gu, "\ufffd");
  return plain.length > LONGEST_NAME ? `${plain.slice(0, LONGEST_NAME)}…` : plain;
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

/** Whether these are areas of an image: numbers of cells, in turn outside and inside, that make up all of them. */
function areAreas(areas, { width, height }) {
  const { side, runs } = areas;
  if (!isCount(side) || !Array.isArray(runs) || !runs.length) return false;
  const right = runs.every((cells, i) => isCount(cells) || (i === 0 && cells === 0));
  return right && runs.reduce((sum, cells) => sum + cells, 0) === Math.ceil(width / side) * Math.ceil(height / side);
}

/** Whether what only some notes have is as it should be: how grey was stored, its profile, areas left to bicubic, a level. */
function isRightFor({ grey, profile, bicubic, level }, { width, height, scale }) {
  const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
  return (
    ["L", "RGB", null].includes(grey ?? null) &&
    (profile == null || (typeof profile === "string" && base64.test(profile))) &&
    (bicubic == null || areAreas(bicubic, { width: Math.ceil(width / scale), height: Math.ceil(height / scale) })) &&
    (level == null || (Number.isInteger(level) && level >= 0 && level < LEVELS))
  );
}

/** What a parsed LR file says of its origin, and how many channels it says it has. */
export async function originOf(image) {
  const { note, channels } = await noteOf(image, KEY, LONGEST_NOTE);
  if (note === null) {
    throw new FileProblem("does not say how it was made, so it is not an LR file of coscale; give the file as it was written.");
  }
  const origin = note.length > LONGEST_NOTE ? null : parseNote(note);
  const isRight =
    origin !== null &&
    TEXTS.every((name) => isPrintable(origin[name])) &&
    HASH.test(origin.weights_hash) &&
    NUMBERS.every((name) => isCount(origin[name])) &&
    isRightFor(origin, origin);
  if (!isRight) throw new FileProblem("has a damaged note about its origin; give the file as coscale wrote it.");
  return { origin, channels };
}
