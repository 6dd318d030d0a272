// PNG files, read and written byte by byte: a canvas may manage colours, premultiply alpha or add noise to what is read
// back, and what an LR file restores to depends on its exact values.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const PALETTE = 3; // the kind of image whose samples are places in a table of colours
const CHANNELS = { 0: 1, 2: 3, [PALETTE]: 1, 4: 2, 6: 4 }; // as stored, by kind
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], [PALETTE]: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const WHOLE = [[0, 0, 1, 1]]; // the pixels of a pass: the first one's column and row, and the steps to the next ones
const INTERLACED = [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];
const MEANING = ["cICP", "iCCP", "sRGB", "cHRM", "gAMA"]; // chunks that say what colours mean
const NOTHING = new Uint8Array();
const BYTES = 4; // of a character at most
const PIECE = 1024; // packed bytes unpacked at a time: they hold a megabyte at most, whatever the file says

/** What a user can read of a file that is not as it should be. */
export class FileProblem extends Error {}

const damaged = () => new FileProblem("is damaged or cut short; copy or save it again.");

/**
 * The chunks of a PNG up to its end, as [type, bytes]; of image data also what there is of a last one that is cut short.
 * A chunk whose checksum is wrong is left out where the image can do without.
 */
function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 8 + length;
    if (type === "IDAT") yield [type, bytes.subarray(at + 8, end)];
    else if (end + 4 > bytes.length || type === "IEND") return;
    else if (view.getUint32(end) === crc(bytes.subarray(at + 4, end))) yield [type, bytes.subarray(at + 8, end)];
    else if (type[0] === type[0].toUpperCase()) throw damaged();
    at = end + 4;
  }
}

/** Size, kind, texts and compressed samples of a PNG; nothing is unpacked yet. */
export function parse(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) {
    throw new FileProblem("is not a PNG, WebP, JPEG, AVIF or JPEG XL; an LR file is what “coscale downscale” wrote.");
  }
  const image = { width: 0, height: 0, depth: 0, kind: 0, interlaced: false, texts: [], meaning: [], parts: [] };
  for (const [type, data] of chunks(bytes)) {
    if (type === "IHDR" && data.length === 13) {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      [image.width, image.height] = [view.getUint32(0), view.getUint32(4)];
      [image.depth, image.kind, image.interlaced] = [data[8], data[9], data[12] === 1];
    } else if (type === "tEXt" || type === "zTXt" || type === "iTXt") image.texts.push([type, data]);
    else if (type === "PLTE") image.palette = data;
    else if (type === "tRNS") image.clear = data;
    else if (MEANING.includes(type) && !image.parts.length) image.meaning.push([type, data.slice()]);
    else if (type === "IDAT") image.parts.push(data);
  }
  return { ...image, channels: channelsOf(image) };
}

/** How many channels the unpacked image has: 1 or 3, and one more where it has opacity; 0 for no kind of PNG. */
function channelsOf({ depth, kind, palette, clear }) {
  if (!DEPTHS[kind]?.includes(depth) || (kind === PALETTE && !palette)) return 0;
  const colours = kind === PALETTE ? 3 : CHANNELS[kind];
  return clear && colours % 2 ? colours + 1 : colours;
}

/**
 * The text that a PNG has by a keyword: the last one, as other readers have it, or null for none. One that is damaged, or
 * longer than `most` characters, is empty.
 */
export async function textOf({ texts }, keyword, most) {
  for (const [type, data] of texts.toReversed()) {
    const [key, rest] = cut(data);
    if (latin1(key) !== keyword) continue;
    const text = await TEXTS[type](rest, most);
    if (text !== null) return Array.from(text).length > most ? "" : text;
  }
  return null;
}

const latin1 = (bytes) => Array.from(bytes, (code) => String.fromCharCode(code)).join("");
const utf8 = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

/** What stands before the first zero, and what behind it, which is null where there is no zero. */
function cut(bytes) {
  const end = bytes.indexOf(0);
  return end < 0 ? [bytes, null] : [bytes.subarray(0, end), bytes.subarray(end + 1)];
}

/** What follows the keyword in each kind of text chunk, read; null where other readers pass a chunk over. */
const TEXTS = {
  tEXt: (rest, most) => (rest ? latin1(rest.subarray(0, most + 1)) : ""),
  zTXt: async (rest, most) => {
    const text = rest?.[0] === 0 ? await inflate([rest.subarray(1)], most + 1) : null;
    return text ? latin1(text) : "";
  },
  iTXt: async (rest, most) => {
    const [language, more] = cut(rest?.subarray(2) ?? NOTHING);
    const [translated, kept] = cut(more ?? NOTHING);
    if (!kept) return null;
    const [isPacked, method] = rest;
    const text = !isPacked ? kept : method ? null : await inflate([kept], BYTES * most + 1);
    if (!text || text.length > BYTES * most) return text && "";
    try {
      [language, translated].forEach(utf8);
      return utf8(text);
    } catch {
      return null;
    }
  },
};

/** What packed `parts` hold, at most so many bytes of it; null where they are damaged. */
async function inflate(parts, most) {
  const left = pieces(parts);
  const source = new ReadableStream({
    pull: (controller) => {
      const { done, value } = left.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
  const reader = source.pipeThrough(new DecompressionStream("deflate")).getReader();
  const out = new Uint8Array(most);
  let filled = 0;
  try {
    while (filled < most) {
      const { done, value } = await reader.read();
      if (done) break;
      const kept = value.subarray(0, most - filled);
      out.set(kept, filled);
      filled += kept.length;
    }
  } catch {
    return null;
  } finally {
    reader.cancel().catch(() => {}); // of a stream that has failed, which is known
  }
  return out.subarray(0, filled);
}

function* pieces(parts) {
  for (const part of parts) for (let at = 0; at < part.length; at += PIECE) yield part.subarray(at, at + PIECE);
}

/** The samples of a parsed PNG, row by row, as 8 bit. */
export async function samples(image) {
  const { width, height, depth, kind, channels, interlaced, parts, clear } = image;
  if (!parts.length) throw damaged();
  if (!channels) throw new FileProblem("is no PNG of a known kind; give the file as coscale wrote it.");
  if (clear && kind !== PALETTE && clear.length < 2 * CHANNELS[kind]) throw damaged();
  const bits = depth * CHANNELS[kind]; // of a pixel
  const passes = (interlaced ? INTERLACED : WHOLE)
    .map(([left, top, right, down]) => {
      const columns = Math.ceil((width - left) / right);
      return { left, top, right, down, columns, rows: Math.ceil((height - top) / down), stride: Math.ceil((columns * bits) / 8) };
    })
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
  const size = passes.reduce((sum, { stride, rows }) => sum + (stride + 1) * rows, 0);
  const packed = await inflate(parts, size); // what comes behind the last row is left alone, as the command leaves it
  if (packed?.length !== size) throw damaged();
  const out = new Uint8Array(width * height * channels);
  let from = 0;
  for (const pass of passes) {
    const { stride, rows } = pass;
    const plain = new Uint8Array(stride * rows);
    for (let y = 0; y < rows; y++, from += stride + 1) {
      unfilter(packed, from, plain, y * stride, stride, Math.max(1, bits / 8), y > 0);
    }
    place(plain, pass, image, out);
  }
  return out;
}

/** Put the pixels of a pass where they belong, each sample as 8 bit. */
function place(plain, { left, top, right, down, columns, rows, stride }, { width, depth, kind, channels, palette, clear }, out) {
  const stored = CHANNELS[kind];
  const most = 2 ** depth - 1;
  const level = (row, i) => { // the i-th sample of a row
    if (depth === 8) return plain[row + i];
    if (depth === 16) return 256 * plain[row + 2 * i] + plain[row + 2 * i + 1];
    return (plain[row + ((i * depth) >> 3)] >> (8 - depth - ((i * depth) & 7))) & most;
  };
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const to = ((top + y * down) * width + left + x * right) * channels;
      let isClear = true;
      for (let c = 0; c < stored; c++) {
        const value = level(y * stride, x * stored + c);
        if (kind === PALETTE) {
          if (3 * value + 3 > palette.length) throw damaged();
          out.set(palette.subarray(3 * value, 3 * value + 3), to);
          if (clear) out[to + 3] = clear[value] ?? 255;
          continue;
        }
        if ((255 * value) % most) throw new FileProblem("has 16-bit samples, which coscale does not write; save it with 8 bit.");
        out[to + c] = (255 * value) / most;
        isClear &&= clear && value === 256 * clear[2 * c] + clear[2 * c + 1];
      }
      if (kind !== PALETTE && channels > stored) out[to + stored] = isClear ? 0 : 255;
    }
  }
}

function unfilter(packed, from, out, to, stride, step, hasAbove) {
  const kind = packed[from++];
  for (let i = 0; i < stride; i++) {
    const left = i >= step ? out[to + i - step] : 0;
    const above = hasAbove ? out[to + i - stride] : 0;
    let guess = 0;
    if (kind === 1) guess = left;
    else if (kind === 2) guess = above;
    else if (kind === 3) guess = (left + above) >> 1;
    else if (kind === 4) guess = paeth(left, above, hasAbove && i >= step ? out[to + i - stride - step] : 0);
    out[to + i] = packed[from + i] + guess;
  }
}

function paeth(left, above, corner) {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/** A PNG of these samples; what says what colours mean goes along as it was read. */
export async function write(out, width, height, channels, meaning) {
  const stride = width * channels;
  const packed = new Uint8Array((stride + 1) * height);
  for (let y = 0; y < height; y++) {
    const row = y * (stride + 1);
    packed[row] = y ? 2 : 0; // differences from the row above
    for (let i = 0; i < stride; i++) {
      const at = y * stride + i;
      packed[row + 1 + i] = out[at] - (y ? out[at - stride] : 0);
    }
  }
  const stream = new Blob([packed]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13);
  new DataView(header.buffer).setUint32(0, width);
  new DataView(header.buffer).setUint32(4, height);
  header.set([8, { 1: 0, 2: 4, 3: 2, 4: 6 }[channels]], 8);
  const middle = meaning.map(([type, body]) => chunk(type, body));
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", header), ...middle, chunk("IDAT", data)];
  return new Blob([...parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
}

/** What an iCCP chunk holds of a colour profile. */
export async function profileChunk(profile) {
  const stream = new Blob([profile]).stream().pipeThrough(new CompressionStream("deflate"));
  const packed = new Uint8Array(await new Response(stream).arrayBuffer());
  const name = Array.from("ICC Profile", (letter) => letter.charCodeAt(0));
  return new Uint8Array([...name, 0, 0, ...packed]); // the second 0 says how it is packed
}

function chunk(type, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(Array.from(type, (letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc(bytes.subarray(4, data.length + 8)));
  return bytes;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
