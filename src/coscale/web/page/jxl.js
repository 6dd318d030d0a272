// Lossless JPEG XL, by jxl-oxide, which is loaded when the first such file comes. It gives a PNG, which png.js reads.

import { FileProblem } from "./png.js";

const DECODER = "./jxl/jxl_oxide_wasm.js";
const CODESTREAM = [0xff, 0x0a];
const CONTAINER = [0, 0, 0, 12, 74, 88, 76, 32, 13, 10, 135, 10];

const begins = (bytes, start) => start.every((byte, i) => bytes[i] === byte);

export const isJxl = (bytes) => begins(bytes, CODESTREAM) || begins(bytes, CONTAINER);

/** Size and XMP packet, null without one; nothing is unpacked yet. */
export async function parseJxl(bytes) {
  const { width, height } = await read(bytes, ({ width, height }) => ({ width, height }));
  return { width, height, packet: packetOf(bytes), bytes };
}

/** A PNG of the same samples and profile. */
export const pngOf = ({ bytes }) => read(bytes, (image) => image.render().encodeToPng()); // which gives the frame back

/** What `find` gives of an image that is whole. */
async function read(bytes, find) {
  const { JxlImage } = await decoder();
  const image = new JxlImage();
  try {
    image.feedBytes(bytes);
    if (!image.tryInit() || !image.loaded) throw new Error("it is cut short");
    return find(image);
  } catch {
    throw new FileProblem("is damaged or cut short; copy or save it again.");
  } finally {
    image.free();
  }
}

let loading = null;

async function decoder() {
  loading ??= import(DECODER).then(async (module) => {
    await module.default();
    return module;
  });
  try {
    return await loading;
  } catch (error) {
    loading = null; // the next file tries again
    console.warn("The decoder of JPEG XL could not be loaded:", error);
    throw new FileProblem("is a JPEG XL image, whose decoder is not beside this page; use “coscale upscale”.");
  }
}

/** What the box for XMP has. A codestream alone has no boxes. */
function packetOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = begins(bytes, CONTAINER) ? 0 : bytes.length; at + 8 <= bytes.length; ) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const long = view.getUint32(at) === 1 && at + 16 <= bytes.length;
    const size = long ? Number(view.getBigUint64(at + 8)) : view.getUint32(at);
    const end = size === 0 ? bytes.length : at + size; // the last box may go on to the end
    if (end <= at || end > bytes.length) return null;
    if (kind === "xml ") return new TextDecoder().decode(bytes.subarray(at + (long ? 16 : 8), end));
    at = end;
  }
  return null;
}
