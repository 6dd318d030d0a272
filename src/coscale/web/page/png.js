// PNG files, read and written byte by byte: a canvas may manage colours, premultiply alpha or add noise to what is read
// back, and what an LR file restores to depends on its exact values.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHANNELS = { 0: 1, 2: 3, 4: 2, 6: 4 };

/** What a user can read of a file that is not as it should be. */
export class FileProblem extends Error {}

/** The chunks of a PNG up to its end, as [type, bytes]. */
function* chunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) break;
    yield [type, bytes.subarray(at + 8, at + 8 + length)];
    if (type === "IEND") return;
    at += 12 + length;
  }
  throw new FileProblem("is damaged or cut short; copy or save it again.");
}

/** Size, kind, texts and compressed samples of a PNG; nothing is unpacked yet. */
export function parse(bytes) {
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) {
    throw new FileProblem("is not a PNG; an LR file is the PNG that “coscale downscale” wrote.");
  }
  const image = { width: 0, height: 0, channels: 0, texts: {}, profile: null, parts: [] };
  for (const [type, data] of chunks(bytes)) {
    if (type === "IHDR") {
      const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
      image.width = view.getUint32(0);
      image.height = view.getUint32(4);
      const [depth, kind, , , interlaced] = data.subarray(8);
      image.channels = depth === 8 && !interlaced ? (CHANNELS[kind] ?? 0) : 0;
    } else if (type === "tEXt") {
      const end = data.indexOf(0);
      const latin1 = (part) => Array.from(part, (code) => String.fromCharCode(code)).join("");
      if (end > 0) image.texts[latin1(data.subarray(0, end))] = latin1(data.subarray(end + 1));
    } else if (type === "iCCP") {
      image.profile = data.slice();
    } else if (type === "IDAT") {
      image.parts.push(data);
    }
  }
  return image;
}

/** The samples of a parsed PNG, row by row, 8 bit. */
export async function samples({ width, height, channels, parts }) {
  if (!channels) throw new FileProblem("is a PNG of another kind than coscale writes: 8-bit RGB or grey it has to be.");
  const stride = width * channels;
  const packed = new Uint8Array((stride + 1) * height);
  let filled = 0;
  try {
    const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      packed.set(value, filled);
      filled += value.length;
    }
  } catch {
    filled = -1;
  }
  if (filled !== packed.length) throw new FileProblem("is damaged or cut short; copy or save it again.");
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) unfilter(packed, y * (stride + 1), out, y * stride, stride, channels, y > 0);
  return out;
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

/** A PNG of these samples; the colour profile goes along as it was read. */
export async function write(out, width, height, channels, profile) {
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
  const middle = profile ? [chunk("iCCP", profile)] : [];
  const parts = [new Uint8Array(SIGNATURE), chunk("IHDR", header), ...middle, chunk("IDAT", data)];
  return new Blob([...parts, chunk("IEND", new Uint8Array())], { type: "image/png" });
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
