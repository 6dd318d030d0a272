// Restores one image after another, tile by tile, away from the page's own thread.

import { enlarge } from "./bicubic.js";

const FAST = 192; // side in LR pixels of tiles that show progress often enough, and
const FAST_HALOS = 6; // in halos, so that these are not most of the work

const RUNTIMES = { webgpu: "./ort/ort.webgpu.min.mjs", wasm: "./ort/ort.wasm.min.mjs" };
let held = null; // the session of the last model, and what it runs on: of a second one the memory may not be there

/** The session of a model; that of another one is given back. */
async function sessionOf(key, model) {
  if (held?.key !== key) {
    await release();
    held = { key, ...(await create(model)) };
  }
  return held;
}

async function release() {
  const { session } = held ?? {};
  held = null;
  await session?.release().catch((error) => console.warn("A session was not given back:", error));
}

/** On the graphics processor where the browser lends it. */
async function create(model) {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  if (adapter && !adapter.info?.isFallbackAdapter) { // a processor that plays a graphics one is slow
    try {
      return await createOn("webgpu", model);
    } catch (error) {
      console.warn("WebGPU cannot run this, so WebAssembly does:", error);
    }
  }
  return createOn("wasm", model);
}

async function createOn(provider, model) {
  const ort = await import(RUNTIMES[provider]);
  ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;
  const options = { executionProviders: [provider], logSeverityLevel: 3 }; // errors
  const session = await ort.InferenceSession.create(model, options);
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

async function restore(job) {
  const made = await sessionOf(job.key, job.model);
  try {
    return { restored: await restoreOn(made, job), provider: made.provider };
  } catch (error) {
    if (made.provider !== "webgpu") throw error;
    console.warn("WebGPU failed, so WebAssembly does it anew:", error);
  }
  await release();
  held = { key: job.key, ...(await createOn("wasm", job.model)) };
  return { restored: await restoreOn(held, job), provider: held.provider };
}

/** How many channels the restored photo has: a grey one may have an LR in colour, or the other way round. */
function channelsOf({ channels, grey }) {
  const alpha = 1 - (channels % 2);
  return grey ? { L: 1, RGB: 3 }[grey] + alpha : channels;
}

async function restoreOn({ ort, session }, { note, lr, width, height, channels, grey }) {
  const { scale, halo, multiple } = note;
  const side = Math.max(FAST, FAST_HALOS * halo + multiple);
  const rows = axis(height, side, halo, multiple);
  const columns = axis(width, side, halo, multiple);
  const isGrey = channels < 3;
  const count = channelsOf({ channels, grey });
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
      const input = new ort.Tensor("float32", tile, [1, 3, h, w]);
      const { hr } = await session.run({ lr: input });
      const sides = [1, 3, h * scale, w * scale];
      if (hr?.type !== "float32" || hr.dims.length !== 4 || !sides.every((side, i) => hr.dims[i] === side)) {
        throw new Error(`the upscaler does not make images ${scale} times as large.`);
      }
      const data = await hr.getData();
      const plane = h * w * scale * scale;
      for (let y = row.core[0] * scale; y < row.core[1] * scale; y++) {
        for (let x = column.core[0] * scale; x < column.core[1] * scale; x++) {
          const from = (y - top * scale) * w * scale + x - left * scale;
          const to = (y * wide + x) * count;
          if (isGrey || grey) {
            const mean = (255 * (data[from] + data[plane + from] + data[2 * plane + from])) / 3;
            for (let c = 0; c < colours; c++) out[to + c] = mean;
          } else for (let c = 0; c < 3; c++) out[to + c] = 255 * data[c * plane + from];
        }
      }
      hr.dispose();
      postMessage({ done: ++done / (rows.length * columns.length) });
    }
  }
  return out;
}

/** Every channel of the photo by bicubic; one that is to come back grey has the mean of the LR's. */
function plain({ lr, width, height, channels, grey, note: { scale } }) {
  const count = channelsOf({ channels, grey });
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

/** Put what bicubic makes into the areas that the LR file leaves to it: runs of cells in turn outside and inside. */
function fill(restored, bicubic, { side, runs }, { width, height, channels, grey, note: { scale } }) {
  const count = channelsOf({ channels, grey });
  const across = Math.ceil(width / side);
  const [wide, high, size] = [width * scale, height * scale, side * scale];
  let cell = 0;
  runs.forEach((cells, i) => {
    for (const end = cell + cells; cell < end; cell++) {
      if (i % 2 === 0) continue;
      const [top, left] = [Math.floor(cell / across) * size, (cell % across) * size];
      const right = Math.min(left + size, wide);
      for (let y = top; y < Math.min(top + size, high); y++) {
        const [from, to] = [(y * wide + left) * count, (y * wide + right) * count];
        restored.set(bicubic.subarray(from, to), from);
      }
    }
  });
}

onmessage = async ({ data: job }) => {
  try {
    const begun = performance.now();
    const bicubic = plain(job);
    const { restored, provider } = await restore(job);
    const channels = channelsOf(job);
    if (channels % 2 === 0) {
      for (let i = channels - 1; i < restored.length; i += channels) restored[i] = bicubic[i]; // alpha
    }
    if (job.areas) fill(restored, bicubic, job.areas, job);
    const seconds = (performance.now() - begun) / 1000;
    const result = { bicubic, restored, channels, seconds, provider };
    postMessage({ result }, [bicubic.buffer, restored.buffer]);
  } catch (error) {
    postMessage({ problem: error.message ?? String(error) });
  }
};
