// The page: takes files, says what they are, has the worker restore them, and shows the result beside bicubic's.

import { parse, samples } from "./lr.js";
import { isModel, noteOf } from "./model.js";
import { originOf } from "./origin.js";
import { FileProblem, profileChunk, write } from "./png.js";

const MOST_PIXELS = 50e6; // of a restored photo: a browser tab has little more memory than that takes
const LONGEST_NAME = 200; // characters of a file's name, or of what a library says, that are shown
const PLACES = { webgpu: "on the graphics processor", wasm: "on the processor" };

const at = (id) => document.getElementById(id);
let own = []; // the upscalers of this page: no file that is dropped takes their place
let dropped = []; // the newest first
let worker = null;
let drops = 0; // files so far
let current = 0; // the one that is restored: a newer LR file takes its place, a file that is none does not

function say(text, isProblem = false) {
  at("status").textContent = text;
  at("status").classList.toggle("problem", isProblem);
}

const started = fetch("models.json")
  .then((answer) => answer.json())
  .then((listed) => (own = listed.map((note) => ({ ...note, key: note.file, label: note.rescaler }))))
  .catch(() => say("This page has no models.json beside it; write it anew with “coscale web”.", true))
  .finally(showModels);

function showModels() {
  const names = [...own, ...dropped].map(({ label }) => label);
  at("models").textContent = names.length ? `This page restores files by ${new Intl.ListFormat("en").format(names)}.` : "";
}

/** A name or a message of a stranger's: what hides or moves other letters is made visible, and there is not too much of it. */
function shown(text) {
  const plain = text.replace(/[^ \P{Z}]|\p{C}/gu, "\ufffd");
  return plain.length > LONGEST_NAME ? `${plain.slice(0, LONGEST_NAME)}…` : plain;
}

/** The upscaler for an origin, after what speaks against restoring the image has been said. */
function upscalerOf(origin, image) {
  const { rescaler, scale, width, height } = origin;
  if (origin.shown === true) {
    throw new FileProblem("needs no page: whatever shows JPEG XL shows the photo restored, and so does your browser if it does.");
  }
  if (image.width !== Math.ceil(width / scale) || image.height !== Math.ceil(height / scale)) {
    const size = `${image.width} × ${image.height} pixels, but its note is about a photo of ${width} × ${height} at ×${scale}`;
    throw new FileProblem(`has ${size}; give the file as coscale wrote it, not resized.`);
  }
  if (width * height > MOST_PIXELS) {
    const most = `${Math.round(width * height / 1e6)} megapixels, more than the ${MOST_PIXELS / 1e6} that this page takes`;
    throw new FileProblem(`is of a photo of ${most}; use “coscale upscale”.`);
  }
  const known = [...own, ...dropped];
  const model = known.find((one) => isSame(one, origin));
  if (model) return model;
  const name = shown(rescaler);
  if (known.some((one) => one.rescaler === rescaler && one.scale === scale)) {
    throw new FileProblem(`was made by other weights of ${name} than this page has; drop their ONNX file first.`);
  }
  throw new FileProblem(`was made by ${name}, which this page does not have; drop its ONNX file first.`);
}

async function take(file) {
  if (!file) return;
  const drop = ++drops;
  try {
    await started;
    const bytes = new Uint8Array(await file.arrayBuffer());
    if (/\.onnx$/i.test(file.name)) takeModel(file, bytes);
    else await restore(file, bytes, drop);
  } catch (error) {
    const problem = error instanceof FileProblem ? error.message : `cannot be read (${shown(error.message)}).`;
    if (drop >= current) say(`${shown(file.name)} ${problem}`, true);
  }
}

/** Whether two notes are about one upscaler with one set of weights. */
function isSame(one, other) {
  return ["rescaler", "scale", "weights_hash"].every((field) => one[field] === other[field]);
}

function takeModel(file, bytes) {
  const note = noteOf(bytes);
  if (!isModel(note)) throw new FileProblem("is not an upscaler that “coscale export” wrote; export it again.");
  const { rescaler, scale } = note;
  if (own.some((model) => isSame(model, note))) {
    throw new FileProblem(`calls itself ${rescaler} at ×${scale}, which this page has: it restores such files by its own.`);
  }
  const isOwnName = own.some((model) => model.rescaler === rescaler);
  if (isOwnName && !note.weights_hash) {
    throw new FileProblem(`calls itself ${rescaler}, which this page has, and does not say by which weights; export it again.`);
  }
  const label = `${rescaler} of ${shown(file.name)}`;
  dropped = [{ ...note, label, key: `${file.name} ${drops}`, bytes }, ...dropped.filter((model) => !isSame(model, note))];
  showModels();
  const which = isOwnName ? `, of other weights than this page's own (${note.weights_hash.slice(0, 12)})` : "";
  say(`${shown(file.name)} restores LR files by ${rescaler} at ×${scale}${which}; now drop one.`);
}

async function restore(file, bytes, drop) {
  const image = await parse(bytes);
  const { origin, told } = await originOf(image);
  const model = upscalerOf(origin, image);
  const { lr, channels, meaning } = await samples(image, told);
  if (drop < current) return;
  current = drop;
  const { width, height } = image;
  const words = `Restoring ${shown(file.name)}: ${width} × ${height} to ${origin.width} × ${origin.height} by ${model.label} …`;
  say(words);
  at("progress").hidden = false;
  at("progress").value = 0;
  try {
    const source = model.bytes ?? new URL(model.file, location.href).href;
    const { grey, bicubic } = origin;
    const job = { key: model.key, model: source, note: model, lr, width, height, channels, grey, areas: bicubic };
    const result = await work(job);
    if (drop !== current) return;
    await show(file, { ...image, meaning }, origin, model.label, result);
    if (at("status").textContent === words) say(""); // else it is about a file that came meanwhile
  } finally {
    if (drop === current) at("progress").hidden = true;
  }
}

/** Have the worker do a job; one that is under way is given up, and so is a worker that failed: it would fail again. */
function work(job) {
  if (worker?.busy) worker.terminate();
  if (!worker || worker.busy) worker = new Worker("worker.js", { type: "module" });
  const mine = worker;
  mine.busy = true;
  return new Promise((resolve, reject) => {
    const fail = (problem) => {
      mine.terminate();
      worker = null;
      reject(new FileProblem(`could not be restored: ${shown(problem)}`));
    };
    mine.onmessage = ({ data }) => {
      if (data.done !== undefined) {
        at("progress").value = data.done;
        return;
      }
      mine.busy = false;
      if (data.result) resolve(data.result);
      else fail(data.problem);
    };
    mine.onerror = () => fail("the browser stopped the work; try a smaller one.");
    mine.postMessage(job);
  });
}

async function show(file, image, origin, label, { bicubic, restored, channels, seconds, provider }) {
  const { width, height } = origin;
  const wide = image.width * origin.scale;
  draw(at("bicubic"), crop(bicubic, wide, width, height, channels), width, height, channels);
  const kept = crop(restored, wide, width, height, channels);
  draw(at("restored"), kept, width, height, channels);
  const profile = origin.profile ? [["iCCP", await profileChunk(fromBase64(origin.profile))]] : [];
  const meaning = [...image.meaning, ...profile];
  const saved = await write(kept, width, height, channels, meaning);
  URL.revokeObjectURL(at("save").href);
  at("save").href = URL.createObjectURL(saved);
  at("save").download = file.name.replace(/(\.x\d+)?\.(png|webp|jxl)$/i, "") + ".restored.png";
  const size = `${width} × ${height} from ${image.width} × ${image.height}`;
  at("facts").textContent = `${size} by ${label}, ${seconds.toFixed(1)} s ${PLACES[provider]}`;
  at("compare").style.setProperty("--width", `${width}px`);
  at("compare").style.setProperty("--ratio", `${width} / ${height}`);
  at("result").hidden = false;
}

const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** The upper left corner of `width` x `height`: sides that are no multiple of the scale were filled up. */
function crop(all, wide, width, height, channels) {
  if (wide === width) return all.subarray(0, width * height * channels);
  const out = new Uint8ClampedArray(width * height * channels);
  for (let y = 0; y < height; y++) {
    out.set(all.subarray(y * wide * channels, (y * wide + width) * channels), y * width * channels);
  }
  return out;
}

function draw(canvas, from, width, height, channels) {
  const pixels = new ImageData(width, height);
  const alpha = channels % 2 === 0;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = from[i * channels + (channels < 3 ? 0 : c)];
    pixels.data[4 * i + 3] = alpha ? from[i * channels + channels - 1] : 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function split(percent) {
  at("split").value = percent;
  at("compare").style.setProperty("--split", `${percent}%`);
}

at("split").addEventListener("input", () => split(Number(at("split").value)));
at("compare").addEventListener("pointerdown", (event) => {
  const follow = ({ clientX }) => {
    const { left, width } = at("compare").getBoundingClientRect();
    split(Math.max(0, Math.min(100, Math.round((100 * (clientX - left)) / width))));
  };
  follow(event);
  const compare = event.currentTarget;
  compare.setPointerCapture(event.pointerId);
  compare.onpointermove = follow;
  compare.onpointerup = compare.onpointercancel = () => (compare.onpointermove = null);
});
at("zoom").addEventListener("click", () => {
  const actual = at("zoom").getAttribute("aria-pressed") !== "true";
  at("zoom").setAttribute("aria-pressed", actual);
  at("compare").classList.toggle("actual", actual);
});
at("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}
