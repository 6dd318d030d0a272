// What an ONNX file says of itself: the metadata that `coscale export` writes.

import { LONGEST_NOTE, isCount, isPrintable, parseNote } from "./origin.js";

const MOST = { scale: 64, halo: 4096, multiple: 1024 }; // more than any upscaler has: a page need not try
const LONGEST_NAME = 100;

/** Whether a note is one that an upscaler can have. */
export function isModel(note) {
  if (note === null || typeof note !== "object") return false;
  const { rescaler, weights_hash: hash, scale, halo, multiple } = note;
  const isNamed = isPrintable(rescaler) && rescaler.trim() !== "" && rescaler.length <= LONGEST_NAME;
  const isWithin = Object.entries(MOST).every(([field, most]) => Number.isInteger(note[field]) && note[field] <= most);
  const isHash = typeof hash === "string" && /^([0-9a-f]{64})?$/.test(hash);
  return isNamed && isHash && isWithin && scale >= 2 && halo >= 0 && isCount(multiple);
}

/** The note of an exported upscaler, or null for a file that has none or is no ONNX file. */
export function noteOf(bytes) {
  try {
    for (const [field, entry] of fields(bytes)) {
      if (field !== 14 || typeof entry === "number") continue; // metadata_props
      const texts = Object.fromEntries(Array.from(fields(entry), ([key, text]) => [key, new TextDecoder().decode(text)]));
      if (texts[1] === "coscale") return texts[2].length > LONGEST_NOTE ? null : parseNote(texts[2]);
    }
  } catch {
    // not in the encoding of ONNX files
  }
  return null;
}

/** The fields of a message in the encoding of protocol buffers: [number, bytes or number]. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= bytes.length || shift > 63) throw new Error("cut short");
      value += (bytes[at] & 127) * 2 ** shift;
      if (bytes[at++] < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) yield [Math.floor(tag / 8), varint()];
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new Error("cut short");
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    } else if (kind === 1 || kind === 5) at += kind === 1 ? 8 : 4;
    else throw new Error("unknown kind of field");
  }
}
