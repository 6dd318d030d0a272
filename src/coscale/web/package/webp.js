// Lossless WebP, read byte by byte for the reasons that png.js gives: a canvas would lose what transparency hides.
// Source: RFC 9649, section 3, and the note in its order of bits: the first is the lowest of the first byte.

import { FileProblem } from "./png.js";

const CODE_LENGTHS = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]; // the order that lengths stand in
const LONGEST_CODE = 15;
const LENGTHS = 24; // symbols for the lengths of copies, behind those for 256 levels of green
const BLACK = 0xff000000;
const LOSSY_START = [0x9d, 0x01, 0x2a]; // behind three bytes that say what kind of frame it is
// Where the nearest 120 pixels lie, rows above in the first digit, and 8 less the columns to the left in the second.
const NEAR = (
  "1807171928062729161a262a38053739151b363a252b48044749141c353b464a242c58454b343c035759131d565a232d444c555b333d6802" +
  "6769121e666a222e545c434d656b323e78017779535d111f646c424e767a212f757b313f636d525e00747c414f1020626e30737d515f40" +
  "727e616f50717f6070"
).match(/../g).map((pair) => parseInt(pair, 16));

const damaged = () => new FileProblem("is damaged or cut short; copy or save it again.");
const letters = (bytes) => String.fromCharCode(...bytes);

export const isWebp = (bytes) => letters(bytes.subarray(0, 4)) === "RIFF" && letters(bytes.subarray(8, 12)) === "WEBP";

/** Size, profile and XMP packet of a WebP, and of a lossless one its channels; nothing is unpacked yet. */
export function parseWebp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = {};
  for (let at = 12; at + 8 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at + 4, true);
    const kind = letters(bytes.subarray(at, at + 4));
    if (end > bytes.length) throw damaged();
    found[kind] ??= bytes.subarray(at + 8, end);
    at = end + (end % 2);
  }
  const { VP8L: coded, ICCP: profile = null } = found;
  const packet = found["XMP "] ? utf8(found["XMP "]) : null;
  if (found["VP8 "]) return { isLossy: true, ...lossySize(found["VP8 "]), hasAlpha: "ALPH" in found, profile, packet };
  if (!coded || coded.length < 5 || coded[0] !== 0x2f) throw damaged();
  const size = coded[1] | (coded[2] << 8) | (coded[3] << 16) | (coded[4] << 24);
  const [width, height] = [(size & 0x3fff) + 1, ((size >>> 14) & 0x3fff) + 1];
  return { width, height, channels: (size >>> 28) & 1 ? 4 : 3, coded, profile, packet };
}

const utf8 = (bytes) => new TextDecoder().decode(bytes);

/** The size of a lossy image (RFC 6386, section 9.1). */
function lossySize(frame) {
  if (frame.length < 10 || !LOSSY_START.every((byte, i) => frame[3 + i] === byte)) throw damaged();
  const side = (at) => (frame[at] | (frame[at + 1] << 8)) & 0x3fff; // above it stands how a viewer may enlarge it
  return { width: side(6), height: side(8) };
}

/** The samples of a parsed WebP, row by row. */
export function webpSamples({ coded, width, height, channels }) {
  const pixels = decode(new Bits(coded.subarray(5)), width, height, true);
  const out = new Uint8Array(width * height * channels);
  for (let i = 0, to = 0; i < pixels.length; i++) {
    const pixel = pixels[i];
    out[to++] = pixel >>> 16;
    out[to++] = pixel >>> 8;
    out[to++] = pixel;
    if (channels === 4) out[to++] = pixel >>> 24;
  }
  return out;
}

class Bits {
  constructor(bytes) {
    [this.bytes, this.at] = [bytes, 0];
  }

  one() {
    const byte = this.bytes[this.at >> 3];
    if (byte === undefined) throw damaged();
    return (byte >> (this.at++ & 7)) & 1;
  }

  take(count) {
    let value = 0;
    for (let i = 0; i < count; i++) value |= this.one() << i;
    return value;
  }
}

/** A prefix code by the lengths of its words; words of one length follow each other in the order of their symbols. */
class Code {
  constructor(lengths) {
    this.counts = new Int32Array(LONGEST_CODE + 1);
    for (const length of lengths) this.counts[length]++;
    this.counts[0] = 0;
    const starts = new Int32Array(LONGEST_CODE + 2);
    for (let i = 1; i <= LONGEST_CODE; i++) starts[i + 1] = starts[i] + this.counts[i];
    this.symbols = new Int32Array(starts[LONGEST_CODE + 1]);
    lengths.forEach((length, symbol) => length && (this.symbols[starts[length]++] = symbol));
    if (!this.symbols.length) throw damaged();
  }

  next(bits) {
    if (this.symbols.length === 1) return this.symbols[0]; // without a single bit
    let [word, first, index] = [0, 0, 0];
    for (let length = 1; length <= LONGEST_CODE; length++) {
      word |= bits.one();
      const count = this.counts[length];
      if (word - first < count) return this.symbols[index + word - first];
      index += count;
      first = (first + count) << 1;
      word <<= 1;
    }
    throw damaged();
  }
}

function readCode(bits, size) {
  const lengths = new Array(size).fill(0);
  const keep = (symbol, length) => {
    if (symbol >= size) throw damaged();
    lengths[symbol] = length;
  };
  if (bits.take(1)) {
    const hasTwo = bits.take(1);
    keep(bits.take(bits.take(1) ? 8 : 1), 1);
    if (hasTwo) keep(bits.take(8), 1);
    return new Code(lengths);
  }
  const ofLengths = new Array(CODE_LENGTHS.length).fill(0);
  const given = 4 + bits.take(4);
  for (let i = 0; i < given; i++) ofLengths[CODE_LENGTHS[i]] = bits.take(3);
  const code = new Code(ofLengths);
  let left = bits.take(1) ? 2 + bits.take(2 + 2 * bits.take(3)) : size;
  let last = 8;
  for (let symbol = 0; symbol < size && left > 0; left--) {
    const length = code.next(bits);
    if (length < 16) {
      if (length) last = length;
      keep(symbol++, length);
      continue;
    }
    const count = length === 16 ? 3 + bits.take(2) : length === 17 ? 3 + bits.take(3) : 11 + bits.take(7);
    for (let i = 0; i < count; i++) keep(symbol++, length === 16 ? last : 0);
  }
  return new Code(lengths);
}

const blocks = (size, bits) => (size + (1 << bits) - 1) >> bits;

/** An image as ARGB: the whole one, or one of those that say how the whole one is to be read. */
function decode(bits, width, height, isWhole) {
  const transforms = [];
  const full = width;
  while (isWhole && bits.take(1)) {
    const kind = bits.take(2);
    if (transforms.some((one) => one.kind === kind)) throw damaged();
    const one = { kind, width };
    if (kind < 2) {
      one.bits = bits.take(3) + 2;
      one.data = decode(bits, blocks(width, one.bits), blocks(height, one.bits), false);
    } else if (kind === 3) {
      const colours = bits.take(8) + 1;
      one.bits = colours > 16 ? 0 : colours > 4 ? 1 : colours > 2 ? 2 : 3;
      one.data = decode(bits, colours, 1, false);
      for (let i = 1; i < colours; i++) one.data[i] = add(one.data[i], one.data[i - 1]);
      width = blocks(width, one.bits);
    }
    transforms.push(one);
  }
  let pixels = entropy(bits, width, height, isWhole);
  for (const one of transforms.toReversed()) pixels = UNDO[one.kind](pixels, one, height);
  if (pixels.length !== full * height) throw damaged();
  return pixels;
}

function entropy(bits, width, height, isWhole) {
  const cacheBits = bits.take(1) ? bits.take(4) : 0;
  if (cacheBits > 11) throw damaged();
  const cache = new Uint32Array(cacheBits ? 1 << cacheBits : 0);
  const side = isWhole && bits.take(1) ? bits.take(3) + 2 : 0;
  const groups = side ? decode(bits, blocks(width, side), blocks(height, side), false).map((pixel) => (pixel >> 8) & 0xffff) : [0];
  const count = groups.reduce((most, group) => Math.max(most, group), 0) + 1;
  const sizes = [256 + LENGTHS + cache.length, 256, 256, 256, 40];
  const codes = Array.from({ length: count }, () => sizes.map((size) => readCode(bits, size)));
  const across = blocks(width, side);
  const out = new Uint32Array(width * height);
  let at = 0;
  const put = (pixel) => {
    out[at++] = pixel;
    if (cacheBits) cache[Math.imul(0x1e35a7bd, pixel) >>> (32 - cacheBits)] = pixel;
  };
  const amount = (symbol) => {
    if (symbol < 4) return symbol + 1;
    const extra = (symbol - 2) >> 1;
    return ((2 + (symbol & 1)) << extra) + bits.take(extra) + 1;
  };
  while (at < out.length) {
    const group = side ? groups[(Math.floor(at / width) >> side) * across + ((at % width) >> side)] : 0;
    const [green, red, blue, alpha, distance] = codes[group];
    const symbol = green.next(bits);
    if (symbol < 256) {
      const [r, b, a] = [red.next(bits), blue.next(bits), alpha.next(bits)];
      put(((a << 24) | (r << 16) | (symbol << 8) | b) >>> 0);
    } else if (symbol < 256 + LENGTHS) {
      const length = amount(symbol - 256);
      const far = amount(distance.next(bits));
      const near = NEAR[far - 1];
      const back = near === undefined ? far - NEAR.length : Math.max(1, (near >> 4) * width + 8 - (near & 15));
      if (back > at || at + length > out.length) throw damaged();
      for (let i = 0; i < length; i++) put(out[at - back]);
    } else put(cache[symbol - 256 - LENGTHS]);
  }
  return out;
}

/** Each of the four channels by itself, modulo 256. */
function add(a, b) {
  const even = ((a & 0xff00ff00) >>> 0) + ((b & 0xff00ff00) >>> 0);
  return ((even & 0xff00ff00) | (((a & 0xff00ff) + (b & 0xff00ff)) & 0xff00ff)) >>> 0;
}

const mean = (a, b) => ((((a ^ b) & 0xfefefefe) >>> 1) + (a & b)) >>> 0;
const level = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);

function each(f) {
  let pixel = 0;
  for (let shift = 0; shift < 32; shift += 8) pixel |= f(shift) << shift;
  return pixel >>> 0;
}

const of = (pixel, shift) => (pixel >>> shift) & 255;

function select(left, above, corner) {
  let [toLeft, toAbove] = [0, 0];
  for (let shift = 0; shift < 32; shift += 8) {
    toLeft += Math.abs(of(above, shift) - of(corner, shift));
    toAbove += Math.abs(of(left, shift) - of(corner, shift));
  }
  return toLeft < toAbove ? left : above;
}

/** What is foretold of a pixel from those to the left, above, above to the right and above to the left. */
const GUESSES = [
  () => BLACK,
  (l) => l,
  (l, t) => t,
  (l, t, tr) => tr,
  (l, t, tr, tl) => tl,
  (l, t, tr) => mean(mean(l, tr), t),
  (l, t, tr, tl) => mean(l, tl),
  (l, t) => mean(l, t),
  (l, t, tr, tl) => mean(tl, t),
  (l, t, tr) => mean(t, tr),
  (l, t, tr, tl) => mean(mean(l, tl), mean(t, tr)),
  (l, t, tr, tl) => select(l, t, tl),
  (l, t, tr, tl) => each((shift) => level(of(l, shift) + of(t, shift) - of(tl, shift))),
  (l, t, tr, tl) => {
    const average = mean(l, t);
    return each((shift) => level(of(average, shift) + Math.trunc((of(average, shift) - of(tl, shift)) / 2)));
  },
  () => BLACK,
  () => BLACK,
];

const signed = (value) => (value << 24) >> 24;
const share = (factor, value) => (signed(factor) * signed(value)) >> 5;

/** The ways back from what makes an image smaller, by their number in the file. */
const UNDO = [
  function predict(pixels, { width, bits, data }) {
    const across = blocks(width, bits);
    for (let i = 0; i < pixels.length; i++) {
      const [x, y] = [i % width, Math.floor(i / width)];
      let guess = BLACK;
      if (y === 0) guess = x === 0 ? BLACK : pixels[i - 1];
      else if (x === 0) guess = pixels[i - width];
      else {
        const mode = (data[(y >> bits) * across + (x >> bits)] >>> 8) & 15;
        const above = i - width;
        guess = GUESSES[mode](pixels[i - 1], pixels[above], pixels[above + 1], pixels[above - 1]);
      }
      pixels[i] = add(pixels[i], guess);
    }
    return pixels;
  },
  function colours(pixels, { width, bits, data }) {
    const across = blocks(width, bits);
    return pixels.map((pixel, i) => {
      const by = data[(Math.floor(i / width) >> bits) * across + ((i % width) >> bits)];
      const green = of(pixel, 8);
      const red = (of(pixel, 16) + share(of(by, 0), green)) & 255;
      const blue = (of(pixel, 0) + share(of(by, 8), green) + share(of(by, 16), red)) & 255;
      return ((pixel & 0xff00ff00) | (red << 16) | blue) >>> 0;
    });
  },
  function green(pixels) {
    return pixels.map((pixel) => add(pixel, (of(pixel, 8) << 16) | of(pixel, 8)));
  },
  function palette(pixels, { width, bits, data }, height) {
    const out = new Uint32Array(width * height);
    const across = blocks(width, bits);
    const size = 8 >> bits; // bits of a place in the table
    for (let i = 0; i < out.length; i++) {
      const [x, y] = [i % width, Math.floor(i / width)];
      const packed = of(pixels[y * across + (x >> bits)], 8);
      out[i] = data[(packed >> ((x & ((1 << bits) - 1)) * size)) & ((1 << size) - 1)] ?? 0;
    }
    return out;
  },
];
