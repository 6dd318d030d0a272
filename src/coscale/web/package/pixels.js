// Samples of an image, row by row, as other things take them.

import { write } from "./png.js";

/** A part of an image, `wide` pixels of `count` channels a row, as RGBA. */
export function rgba(all, wide, left, top, width, height, count) {
  const data = new Uint8ClampedArray(4 * width * height);
  const colours = count - 1 + (count % 2);
  let to = 0;
  for (let y = 0; y < height; y++) {
    for (let from = ((top + y) * wide + left) * count, x = 0; x < width; x++, from += count) {
      for (let c = 0; c < 3; c++) data[to++] = all[from + (colours < 3 ? 0 : c)];
      data[to++] = colours < count ? all[from + colours] : 255;
    }
  }
  return data;
}

/** The upper left corner of `width` x `height`: sides that are no multiple of the scale were filled up. */
export function crop(all, wide, width, height, count) {
  if (wide === width) return all.subarray(0, width * height * count);
  const out = new Uint8ClampedArray(width * height * count);
  for (let y = 0; y < height; y++) out.set(all.subarray(y * wide * count, (y * wide + width) * count), y * width * count);
  return out;
}

/** What a canvas takes of a restored photo, or of `data` of its size. */
export function toImageData({ data, width, height, channels }) {
  return new ImageData(rgba(data, width, 0, 0, width, height, channels), width, height);
}

/** A PNG of a restored photo, with what says what its colours mean. */
export const toPng = ({ data, width, height, channels, meaning }) => write(data, width, height, channels, meaning);
