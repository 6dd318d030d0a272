// LR files of the formats that this page reads, all in the same way.

import { isJxl, parseJxl, pngOf } from "./jxl.js";
import { parse as parsePng, profileChunk, samples as pngSamples, textOf } from "./png.js";
import { isWebp, parseWebp, webpSamples } from "./webp.js";
import { told as read } from "./xmp.js";

const PACKET = "XML:com.adobe.xmp"; // the key of the XMP packet among the texts of a PNG
const LONGEST_PACKET = 2 ** 22; // characters; those that can have a note have a quarter

/** Size, channels and what else stands before the pixels; nothing is unpacked yet. */
export async function parse(bytes) {
  if (isJxl(bytes)) return { ...(await parseJxl(bytes)), isJxl: true };
  if (!isWebp(bytes)) return parsePng(bytes);
  const image = parseWebp(bytes);
  return { ...image, isWebp: true, meaning: image.profile ? [["iCCP", await profileChunk(image.profile)]] : [] };
}

/** The note of a parsed LR file, null where there is none; and how many channels it says that the image has. */
export async function noteOf(image, key, most) {
  if ("packet" in image) return read(image.packet);
  const text = await textOf(image, key, most);
  const packet = read(await textOf(image, PACKET, LONGEST_PACKET));
  return { ...packet, note: text ?? packet.note };
}

/**
 * The samples of a parsed image, row by row, how many of them a pixel has (grey that was stored as colour is one), and what
 * says what their colours mean.
 */
export async function samples(image, told) {
  const { all, channels, meaning } = await unpacked(image);
  const stored = channels < 3 ? 1 : 3;
  const colours = told < 3 && isGrey(all, channels) ? 1 : stored;
  const hasAlpha = channels > stored;
  const count = colours + (hasAlpha || told % 2 === 0 ? 1 : 0);
  if (count === channels) return { lr: all, channels, meaning };
  const lr = new Uint8Array((all.length / channels) * count).fill(255); // opaque, where alpha was left out
  for (let from = 0, to = 0; from < all.length; from += channels, to += count) {
    for (let c = 0; c < colours; c++) lr[to + c] = all[from + c];
    if (hasAlpha) lr[to + colours] = all[from + stored];
  }
  return { lr, channels: count, meaning };
}

async function unpacked(image) {
  if (image.isWebp) return { ...image, all: webpSamples(image) };
  if (!image.isJxl) return { ...image, all: await pngSamples(image) };
  const png = await parsePng(await pngOf(image));
  // The decoder says in other chunks too what it takes the colours for; a profile is the file's own.
  return { ...png, all: await pngSamples(png), meaning: png.meaning.filter(([kind]) => kind === "iCCP") };
}

function isGrey(all, channels) {
  if (channels < 3) return true;
  for (let i = 0; i < all.length; i += channels) if (all[i] !== all[i + 1] || all[i] !== all[i + 2]) return false;
  return true;
}
