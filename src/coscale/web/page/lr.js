// LR files of the formats that this page reads, all in the same way.

import { FileProblem, parse as parsePng, profileChunk, samples as pngSamples, textOf } from "./png.js";
import { isWebp, parseWebp, webpSamples } from "./webp.js";
import { told } from "./xmp.js";

const PACKET = "XML:com.adobe.xmp"; // the key of the XMP packet among the texts of a PNG
const LONGEST_PACKET = 2 ** 22; // characters; those that can have a note have a quarter
const JPEG_XL = [[0xff, 0x0a], [0, 0, 0, 12, 74, 88, 76, 32]];

/** Size, channels and what else stands before the pixels; nothing is unpacked yet. */
export async function parse(bytes) {
  if (JPEG_XL.some((start) => start.every((byte, i) => bytes[i] === byte))) {
    throw new FileProblem("is a JPEG XL image, which this page does not read; use “coscale upscale”.");
  }
  if (!isWebp(bytes)) return parsePng(bytes);
  const image = parseWebp(bytes);
  return { ...image, isWebp: true, meaning: image.profile ? [["iCCP", await profileChunk(image.profile)]] : [] };
}

/** The note of a parsed LR file, null where there is none; and whether it says that three equal channels are one. */
export async function noteOf(image, key, most) {
  if (image.isWebp) return told(image.packet);
  const text = await textOf(image, key, most);
  const packet = told(await textOf(image, PACKET, LONGEST_PACKET));
  return { ...packet, note: text ?? packet.note };
}

/** The samples of a parsed image, row by row, and how many of them a pixel has. */
export async function samples(image, isGrey) {
  const { channels } = image;
  const all = image.isWebp ? webpSamples(image) : await pngSamples(image);
  if (!isGrey || channels < 3) return { lr: all, channels };
  for (let i = 0; i < all.length; i += channels) {
    if (all[i] !== all[i + 1] || all[i] !== all[i + 2]) return { lr: all, channels }; // no grey after all
  }
  return { lr: all.filter((_, i) => i % channels === 0 || i % channels === 3), channels: channels - 2 };
}
