// Lossless JPEG XL, by jxl-oxide, which is loaded when the first such file comes. It gives a PNG, which png.js reads.

import { FileProblem } from "./png.js";

const MODULE = "jxl_oxide_wasm.js";
const CODESTREAM = [0xff, 0x0a];
const CONTAINER = [0, 0, 0, 12, 74, 88, 76, 32, 13, 10, 135, 10];

const begins = (bytes, start) => start.every((byte, i) => bytes[i] === byte);
const damaged = () => new FileProblem("is damaged or cut short; copy or save it again.");

export const isJxl = (bytes) => begins(bytes, CODESTREAM) || begins(bytes, CONTAINER);

/** Width and height; `folder` is the address of what the npm package jxl-oxide-wasm has. */
export const jxlSize = (bytes, folder) => read(bytes, folder, ({ width, height }) => ({ width, height }));

/** A PNG of the same samples and profile. */
export const pngOf = (bytes, folder) => read(bytes, folder, (image) => image.render().encodeToPng()); // which frees the frame

/** What `find` gives of an image that is whole. */
async function read(bytes, folder, find) {
  const { JxlImage } = await decoder(folder);
  const image = new JxlImage();
  try {
    image.feedBytes(bytes);
    if (!image.tryInit() || !image.loaded) throw new Error("it is cut short");
    return find(image);
  } catch {
    throw damaged();
  } finally {
    image.free();
  }
}

const loading = new Map(); // by folder

async function decoder(folder) {
  if (!loading.has(folder)) {
    const module = import(/* webpackIgnore: true */ /* @vite-ignore */ new URL(MODULE, folder).href);
    loading.set(folder, module.then(async (loaded) => (await loaded.default(), loaded)));
  }
  try {
    return await loading.get(folder);
  } catch (error) {
    loading.delete(folder); // the next file tries again
    console.warn("The decoder of JPEG XL could not be loaded:", error);
    throw new FileProblem("is a JPEG XL image, whose decoder is not beside this page; use “coscale upscale”.");
  }
}

/** What the box for XMP has, null without one. A codestream alone has no boxes. */
export function jxlPacket(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = begins(bytes, CONTAINER) ? 0 : bytes.length; at + 8 <= bytes.length; ) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const long = view.getUint32(at) === 1 && at + 16 <= bytes.length;
    const size = long ? Number(view.getBigUint64(at + 8)) : view.getUint32(at);
    const end = size === 0 ? bytes.length : at + size; // the last box may go on to the end
    if (end <= at || end > bytes.length) throw damaged();
    if (kind === "xml ") return new TextDecoder().decode(bytes.subarray(at + (long ? 16 : 8), end));
    at = end;
  }
  return null;
}
