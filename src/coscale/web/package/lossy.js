// LR files that a lossy codec keeps: note and colour profile are found in the file; the browser decodes the pixels.

import { FileProblem } from "./png.js";
import { MOST } from "./xmp.js";

const XMP_IN_JPEG = "http://ns.adobe.com/xap/1.0/\0";
const PROFILE_IN_JPEG = "ICC_PROFILE\0";
const [APP1, APP2, SCAN, END] = [0xe1, 0xe2, 0xda, 0xd9]; // markers of segments
const isFrame = (kind) => kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind); // which has the size
const isAlone = (kind) => kind === 0x01 || (kind >= 0xd0 && kind <= 0xd7); // a marker that no segment follows
const BRANDS = ["avif", "avis"];
const XMP_IN_AVIF = "application/rdf+xml";

const damaged = () => new FileProblem("is damaged or cut short; copy or save it again.");
const letters = (bytes) => String.fromCharCode(...bytes);
const utf8 = (bytes) => new TextDecoder().decode(bytes);

export const isJpeg = (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;

/** The size of a JPEG, its XMP packet and its colour profile; null where there is none. */
export function jpegParts(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const profile = [];
  let packet = null;
  let size = null;
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const kind = bytes[at + 1];
    if (kind === SCAN || kind === END) break;
    if (kind === 0xff || isAlone(kind)) { // the first may stand before a marker as often as it likes
      at += kind === 0xff ? 1 : 2;
      continue;
    }
    const end = at + 2 + view.getUint16(at + 2);
    if (end > bytes.length || end < at + 4) throw damaged();
    const body = bytes.subarray(at + 4, end);
    const begins = (text) => letters(body.subarray(0, text.length)) === text;
    if (isFrame(kind) && body.length >= 5) size ??= { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    if (kind === APP1 && begins(XMP_IN_JPEG)) packet ??= utf8(body.subarray(XMP_IN_JPEG.length));
    if (kind === APP2 && begins(PROFILE_IN_JPEG)) {
      const part = body.subarray(PROFILE_IN_JPEG.length);
      profile[part[0]] = part.subarray(2); // in between stands how many parts there are
    }
    at = end;
  }
  if (!size) throw damaged();
  return { ...size, packet, profile: profile.length ? joined(profile.filter(Boolean)) : null, hasAlpha: false };
}

function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((at, part) => (out.set(part, at), at + part.length), 0);
  return out;
}

export const isAvif = (bytes) => letters(bytes.subarray(4, 8)) === "ftyp" && BRANDS.includes(letters(bytes.subarray(8, 12)));

/** The boxes in a part of a file of boxes (ISO/IEC 14496-12), as [kind, body]. */
function* boxes(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length; ) {
    const size = view.getUint32(at);
    const long = size === 1 && at + 16 <= bytes.length;
    const end = long ? at + Number(view.getBigUint64(at + 8)) : size === 0 ? bytes.length : at + size;
    if (end < at + 8 || end > bytes.length) throw damaged();
    yield [letters(bytes.subarray(at + 4, at + 8)), bytes.subarray(at + (long ? 16 : 8), end)];
    at = end;
  }
}

const inside = (bytes, kind) => Array.from(boxes(bytes)).find(([name]) => name === kind)?.[1];

/** Reads the numbers of a box one after the other, each of a size that the box says itself. */
class Numbers {
  constructor(bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  take(size) {
    let value = 0;
    for (let i = 0; i < size; i++) value = 256 * value + this.view.getUint8(this.at++);
    return value;
  }
}

/** The size, XMP packet and colour profile of an AVIF (ISO/IEC 23008-12, of which it is a kind), and whether it has opacity. */
export function avifParts(bytes) {
  try {
    const meta = inside(bytes, "meta")?.subarray(4); // behind its version and flags
    if (!meta) throw damaged();
    const described = inside(meta, "iprp");
    const properties = [...boxes(inside(described, "ipco"))];
    const isProfile = ([kind, body]) => kind === "colr" && ["prof", "rICC"].includes(letters(body.subarray(0, 4)));
    const profile = properties.find(isProfile)?.[1].subarray(4) ?? null;
    const hasAlpha = properties.some(([kind, body]) => kind === "auxC" && letters(body).includes(":alpha"));
    const id = packetItem(inside(meta, "iinf"));
    const packet = id === null ? null : utf8(item(bytes, meta, id));
    return { ...avifSize(meta, described, properties), packet, profile, hasAlpha };
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw damaged(); // what it says leads out of the file
    throw error;
  }
}

/** The number of the item that is an XMP packet, null without one. */
function packetItem(info) {
  const start = info[0] === 0 ? 6 : 8; // behind version, flags and a count
  for (const [kind, body] of boxes(info.subarray(start))) {
    if (kind !== "infe" || body[0] < 2) continue;
    const numbers = new Numbers(body.subarray(4));
    const id = numbers.take(body[0] === 2 ? 2 : 4);
    const [type, ...texts] = utf8(body.subarray(4 + numbers.at + 2)).split("\0"); // the type runs into the item's name
    if (type.startsWith("mime") && texts[0] === XMP_IN_AVIF) return id;
  }
  return null;
}

/** Width and height of the image that an AVIF is about; it may have others, such as its opacity. */
function avifSize(meta, described, properties) {
  const primary = inside(meta, "pitm");
  const wanted = new Numbers(primary.subarray(4)).take(primary[0] === 0 ? 2 : 4);
  for (const [kind, body] of boxes(described)) {
    if (kind !== "ipma") continue;
    const [version, isWide] = [body[0], body[3] & 1];
    const numbers = new Numbers(body.subarray(4));
    for (let left = numbers.take(4); left > 0; left--) {
      const id = numbers.take(version < 1 ? 2 : 4);
      for (let count = numbers.take(1); count > 0; count--) {
        const place = isWide ? numbers.take(2) & 0x7fff : numbers.take(1) & 0x7f; // the first bit is another matter
        const [name, size] = (id === wanted && properties[place - 1]) || [];
        if (name !== "ispe") continue;
        const sides = new Numbers(size.subarray(4));
        return { width: sides.take(4), height: sides.take(4) };
      }
    }
  }
  throw damaged();
}

/** What the file has of an item, put together of its pieces. */
function item(bytes, meta, wanted) {
  const places = inside(meta, "iloc");
  const version = places[0];
  const numbers = new Numbers(places.subarray(4));
  const [sizes, more] = [numbers.take(1), numbers.take(1)];
  const [offsetSize, lengthSize, baseSize, indexSize] = [sizes >> 4, sizes & 15, more >> 4, version ? more & 15 : 0];
  const idSize = version < 2 ? 2 : 4;
  for (let left = numbers.take(idSize); left > 0; left--) {
    const id = numbers.take(idSize);
    const isWithin = version && numbers.take(2) % 16 === 1; // the box “meta” itself
    numbers.take(2); // of another file, which no AVIF has
    const base = numbers.take(baseSize);
    const count = numbers.take(2);
    if (id !== wanted) {
      numbers.at += count * (indexSize + offsetSize + lengthSize);
      continue;
    }
    const from = isWithin ? inside(meta, "idat") : bytes;
    const parts = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      numbers.take(indexSize);
      const start = base + numbers.take(offsetSize);
      const length = numbers.take(lengthSize);
      total += length;
      if (start + length > from.length || total > MOST) throw damaged(); // as pieces may overlap, they can be much
      if (length) parts.push(from.subarray(start, start + length));
    }
    return joined(parts);
  }
  throw damaged();
}

/** Samples of an image as the browser decodes it, without its colour management. */
export async function lossySamples({ bytes, form, hasAlpha, width, height }) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes]), options).catch(() => {
    throw new FileProblem(`is damaged, or this browser does not read ${form}; copy it again, or use “coscale upscale”.`);
  });
  if (bitmap.width !== width || bitmap.height !== height) throw damaged();
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  if (hasAlpha) return { all: data, channels: 4 };
  const all = new Uint8Array(3 * width * height);
  for (let i = 0, to = 0; i < data.length; i += 4) {
    for (let c = 0; c < 3; c++) all[to++] = data[i + c];
  }
  return { all, channels: 3 };
}
