// Restores one image after another, tile by tile, away from the page's own thread.

import { enlarge } from "./bicubic.js";
import { samples, parse } from "./lr.js";
import { crop, rgba } from "./pixels.js";
import { FileProblem, profileChunk, write } from "./png.js";

const FAST = 192; // side in LR pixels of tiles that show progress often enough, and
const FAST_HALOS = 6; // in halos, so that these are not most of the work
const LEVELS = 255; // the highest that an upscaler can be told of a codec

const RUNTIMES = { webgpu: "ort.webgpu.min.mjs", wasm: "ort.wasm.min.mjs" };
let held = null; // the session of the last model, and what it runs on: of a second one the memory may not be there

/** The session of a model; that of another one is given back. */
async function sessionOf({ model, runtime }) {
  if (held?.key !== model.key) {
    await release();
    held = { key: model.key, ...(await create(model, runtime)) };
  }
  return held;
}

async function release() {
  const { session } = held ?? {};
  held = null;
  await session?.release().catch((error) => console.warn("A session was not given back:", error));
}

/** On the graphics processor where the browser lends it. */
async function create(model, runtime) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter && !adapter.info?.isFallbackAdapter) { // a processor that plays a graphics one is slow
    try {
      return await createOn("webgpu", model, runtime);
    } catch (error) {
      console.warn("WebGPU cannot run this, so WebAssembly does:", error);
    }
  }
  return createOn("wasm", model, runtime);
}

async function createOn(provider, { source }, runtime) {
  const ort = await import(/* webpackIgnore: true */ /* @vite-ignore */ new URL(RUNTIMES[provider], runtime).href);
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const options = { executionProviders: [provider], logSeverityLevel: 3 }; // errors
  const session = await ort.InferenceSession.create(source, options);
  return { ort, provider, session };
}

/** Where tiles begin and end along one axis, and what of them is kept: coscale's own way to cut an image. */
function axis(size, side, halo, multiple) {
  if (size <= side) return [{ outer: [0, size], core: [0, size] }];
  const around = 2 * halo + multiple - 1;
  const count = Math.ceil(size / (side - around));
  const outer = Math.min(size, Math.ceil(size / count) + around);
  return Array.from({ length: count }, (_, i) => {
    const core = [Math.floor((size * i) / count), Math.floor((size * (i + 1)) / count)];
    const first = Math.floor(Math.min(Math.max(0, core[0] - halo), size - outer) / multiple) * multiple;
    return { outer: [first, i === count - 1 ? size : first + outer], core };
  });
}

async function restore(job, image) {
  const made = await sessionOf(job);
  try {
    return { restored: await restoreOn(made, job, image), provider: made.provider };
  } catch (error) {
    if (made.provider !== "webgpu") throw error;
    console.warn("WebGPU failed, so WebAssembly does it anew:", error);
  }
  await release();
  held = { key: job.model.key, ...(await createOn("wasm", job.model, job.runtime)) };
  return { restored: await restoreOn(held, job, image), provider: held.provider };
}

/** How many channels the restored photo has: a grey one may have an LR in colour, or the other way round. */
function channelsOf(channels, grey) {
  const alpha = 1 - (channels % 2);
  return grey ? { L: 1, RGB: 3 }[grey] + alpha : channels;
}

async function restoreOn({ ort, session }, job, image) {
  const { scale, halo, multiple, takes_level: takesLevel } = job.model;
  const { lr, width, height, channels } = image;
  const { grey, level } = job.origin;
  const side = Math.max(FAST, FAST_HALOS * halo + multiple);
  const rows = axis(height, side, halo, multiple);
  const columns = axis(width, side, halo, multiple);
  const isGrey = channels < 3;
  const count = image.count;
  const colours = count - 1 + (count % 2);
  const wide = width * scale;
  const out = new Uint8ClampedArray(wide * height * scale * count); // which rounds half to even, as coscale does
  let done = 0;
  for (const row of rows) {
    for (const column of columns) {
      const [top, left] = [row.outer[0], column.outer[0]];
      const [h, w] = [row.outer[1] - top, column.outer[1] - left];
      const tile = new Float32Array(3 * h * w);
      for (let c = 0; c < 3; c++) {
        for (let y = 0; y < h; y++) {
          for (let x = 0; x < w; x++) {
            tile[(c * h + y) * w + x] = lr[((top + y) * width + left + x) * channels + (isGrey ? 0 : c)] / 255;
          }
        }
      }
      const inputs = { lr: new ort.Tensor("float32", tile, [1, 3, h, w]) };
      if (takesLevel) inputs.level = new ort.Tensor("float32", [(level ?? 0) / LEVELS], [1]);
      const { hr } = await session.run(inputs);
      const sides = [1, 3, h * scale, w * scale];
      if (hr?.type !== "float32" || hr.dims.length !== 4 || !sides.every((side, i) => hr.dims[i] === side)) {
        throw new Error(`the upscaler does not make images ${scale} times as large.`);
      }
      const data = await hr.getData();
      const plane = h * w * scale * scale;
      const kept = partOf(row.core, column.core, scale);
      for (let y = kept.top; y < kept.bottom; y++) {
        for (let x = kept.left; x < kept.right; x++) {
          const from = (y - top * scale) * w * scale + x - left * scale;
          const to = (y * wide + x) * count;
          if (isGrey || grey) {
            const mean = (255 * (data[from] + data[plane + from] + data[2 * plane + from])) / 3;
            for (let c = 0; c < colours; c++) out[to + c] = mean;
          } else for (let c = 0; c < 3; c++) out[to + c] = 255 * data[c * plane + from];
        }
      }
      hr.dispose();
      if (image.isMixed) finish(out, kept, job, image);
      done++;
      const tiled = job.tiles ? shownTile(out, kept, job, image) : null;
      postMessage({ id: job.id, done: done / (rows.length * columns.length), tile: tiled }, tiled ? [tiled.data.buffer] : []);
    }
  }
  return out;
}

/** What rows and columns of an LR are in the photo. */
function partOf([top, bottom], [left, right], scale) {
  return { top: top * scale, bottom: bottom * scale, left: left * scale, right: right * scale };
}

/** Every channel of the photo by bicubic; one that is to come back grey has the mean of the LR's. */
function plain({ lr, width, height, channels, count }, { grey }, { scale }) {
  const out = new Uint8ClampedArray(width * height * scale * scale * count);
  const enlarged = (sample) => enlarge(Uint8Array.from({ length: width * height }, sample), width, height, scale);
  const put = (plane, c) => plane.forEach((value, i) => (out[i * count + c] = value));
  const one = grey && enlarged((_, i) => {
    const at = i * channels;
    return channels < 3 ? lr[at] : Math.round((lr[at] + lr[at + 1] + lr[at + 2]) / 3);
  });
  for (let c = 0; c < count; c++) {
    const isAlpha = c === count - 1 && count % 2 === 0;
    if (grey && !isAlpha) put(one, c);
    else put(enlarged((_, i) => lr[i * channels + (isAlpha ? channels - 1 : c)]), c);
  }
  return out;
}

/** Put what bicubic makes where it belongs in a tile: into the opacity, and the areas that the LR file leaves to it. */
function finish(out, { top, bottom, left, right }, { model: { scale } }, { bicubic, cells, side, width, count }) {
  const wide = width * scale;
  const across = Math.ceil(width / side);
  for (let y = top; y < bottom; y++) {
    const row = Math.floor(y / (side * scale)) * across;
    for (let x = left; x < right; x++) {
      const at = (y * wide + x) * count;
      const isLeft = cells[row + Math.floor(x / (side * scale))];
      for (let c = isLeft ? 0 : count - 1 + (count % 2); c < count; c++) out[at + c] = bicubic[at + c];
    }
  }
}

/** Which cells of an LR are left to bicubic: its runs of them are in turn outside and inside. */
function cellsOf({ side, runs }, { width, height }) {
  const cells = new Uint8Array(Math.ceil(width / side) * Math.ceil(height / side));
  runs.reduce((at, count, i) => (cells.fill(i % 2, at, at + count), at + count), 0);
  return cells;
}

/** What of a tile lies within the photo, as a canvas takes it. */
function shownTile(out, { top, bottom, left, right }, { model: { scale }, origin }, { width, count }) {
  const [w, h] = [Math.min(right, origin.width) - left, Math.min(bottom, origin.height) - top];
  if (w <= 0 || h <= 0) return null;
  return { x: left, y: top, width: w, height: h, data: rgba(out, width * scale, left, top, w, h, count) };
}

/** Refuse an LR that has not the size that its note says. */
function checkSize(image, { scale, width, height }) {
  if (image.width === Math.ceil(width / scale) && image.height === Math.ceil(height / scale)) return;
  const size = `${image.width} × ${image.height} pixels, but its note is about a photo of ${width} × ${height} at ×${scale}`;
  throw new FileProblem(`has ${size}; give the file as coscale wrote it, not resized.`);
}

/** The LR image of a job, with what bicubic makes of it where somebody needs that. */
async function imageOf({ bytes, channels, origin, model, jxl, compare }) {
  const found = await samples(parse(bytes), channels, { jxl, check: (size) => checkSize(size, origin) });
  const image = { ...found, count: channelsOf(found.channels, origin.grey), side: 1, cells: [] };
  if (origin.bicubic) Object.assign(image, { side: origin.bicubic.side, cells: cellsOf(origin.bicubic, image) });
  image.isMixed = Boolean(origin.bicubic) || image.count % 2 === 0; // what the network has no part in
  if (compare || image.isMixed) image.bicubic = plain(image, origin, model);
  return image;
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Do a job: what is asked for is the restored samples, with bicubic's where they are to be compared, or a PNG. */
async function work(job) {
  const begun = performance.now();
  const { origin } = job;
  const image = await imageOf(job);
  // A canvas shows no profile, and what it has does not hide what shines through from behind it.
  const tiles = job.tiles && image.meaning.length === 0 && image.count % 2 === 1;
  const { restored, provider } = await restore({ ...job, tiles }, image);
  const channels = image.count;
  const cut = (all) => crop(all, image.width * job.model.scale, origin.width, origin.height, channels);
  const profile = origin.profile ? [["iCCP", await profileChunk(fromBase64(origin.profile))]] : [];
  const meaning = [...image.meaning, ...profile];
  const { width, height } = origin;
  const result = { width, height, channels, meaning, provider };
  if (job.png) result.png = await write(cut(restored), width, height, channels, meaning);
  else Object.assign(result, { data: cut(restored) }, job.compare && { bicubic: cut(image.bicubic) });
  result.seconds = (performance.now() - begun) / 1000;
  return result;
}

onmessage = async ({ data: job }) => {
  try {
    const result = await work(job);
    const moved = [result.data, result.bicubic].filter(Boolean).map(({ buffer }) => buffer);
    postMessage({ id: job.id, result }, moved);
  } catch (error) {
    postMessage({ id: job.id, problem: error.message ?? String(error), isOfFile: error instanceof FileProblem });
  }
};
