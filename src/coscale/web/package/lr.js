// LR files of every format, all read in the same way.

import { isAvif, isJpeg, lossySamples, avifParts, jpegParts } from "./lossy.js";
import { isJxl, jxlPacket, jxlSize, pngOf } from "./jxl.js";
import { parse as parsePng, profileChunk, samples as pngSamples, textOf } from "./png.js";
import { isWebp, parseWebp, webpSamples } from "./webp.js";
import { readPacket } from "./xmp.js";

const PACKET = "XML:com.adobe.xmp"; // the key of the XMP packet among the texts of a PNG
const LONGEST_PACKET = 2 ** 22; // characters; those that can have a note have a quarter
const JXL = new URL("../jxl/", import.meta.url).href; // where “coscale web” puts the decoder of JPEG XL

/**
 * What stands before the pixels; nothing is unpacked yet. `isLossy` says that the browser's own decoder unpacks it, and
 * `form` what the format is called.
 */
export function parse(bytes) {
  if (isJxl(bytes)) return { bytes, form: "JPEG XL", packet: jxlPacket(bytes), open: openJxl };
  if (isJpeg(bytes)) return { bytes, form: "JPEG", isLossy: true, ...jpegParts(bytes), open: openLossy };
  if (isAvif(bytes)) return { bytes, form: "AVIF", isLossy: true, ...avifParts(bytes), open: openLossy };
  if (!isWebp(bytes)) return { ...parsePng(bytes), form: "PNG", open: openPng };
  const image = parseWebp(bytes);
  return { ...image, bytes, form: "WebP", open: image.isLossy ? openLossy : openWebp };
}

/** The note of a parsed LR file, null where there is none; and how many channels it says that the image has. */
export async function noteOf(image, key, most) {
  if ("packet" in image) return readPacket(image.packet);
  const text = await textOf(image, key, most);
  const packet = readPacket(await textOf(image, PACKET, LONGEST_PACKET));
  return { ...packet, note: text ?? packet.note };
}

/**
 * The samples of a parsed image, row by row, its size, how many of them a pixel has (grey that was stored as colour is
 * one), and what says what their colours mean. `noted` is how many channels the file says that it has; `check` may refuse
 * a size before anything is unpacked; `jxl` is the folder of the decoder of JPEG XL.
 */
export async function samples(image, noted, { jxl = JXL, check = () => {} } = {}) {
  const { width, height, unpack } = await image.open(image, jxl);
  check({ width, height });
  const { all, channels, meaning } = await unpack();
  const stored = channels < 3 ? 1 : 3;
  const colours = noted < 3 && isGrey(all, channels) ? 1 : stored;
  const hasAlpha = channels > stored;
  const count = colours + (hasAlpha || noted % 2 === 0 ? 1 : 0);
  if (count === channels) return { lr: all, width, height, channels, meaning };
  const lr = new Uint8Array((all.length / channels) * count).fill(255); // opaque, where alpha was left out
  for (let from = 0, to = 0; from < all.length; from += channels, to += count) {
    for (let c = 0; c < colours; c++) lr[to + c] = all[from + c];
    if (hasAlpha) lr[to + colours] = all[from + stored];
  }
  return { lr, width, height, channels: count, meaning };
}

async function openPng(image) {
  return { ...image, unpack: async () => ({ ...image, all: await pngSamples(image) }) };
}

async function openWebp(image) {
  return { ...image, unpack: async () => ({ ...image, all: webpSamples(image), meaning: await profiled(image.profile) }) };
}

async function openJxl({ bytes }, jxl) {
  const unpack = async () => {
    const png = parsePng(await pngOf(bytes, jxl));
    // The decoder says in other chunks too what it takes the colours for; a profile is the file's own.
    return { ...png, all: await pngSamples(png), meaning: png.meaning.filter(([kind]) => kind === "iCCP") };
  };
  return { ...(await jxlSize(bytes, jxl)), unpack };
}

async function openLossy(image) {
  return { ...image, unpack: async () => ({ ...(await lossySamples(image)), meaning: await profiled(image.profile) }) };
}

const profiled = async (profile) => (profile ? [["iCCP", await profileChunk(profile)]] : []);

function isGrey(all, channels) {
  if (channels < 3) return true;
  for (let i = 0; i < all.length; i += channels) if (all[i] !== all[i + 1] || all[i] !== all[i + 2]) return false;
  return true;
}
