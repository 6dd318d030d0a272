// The page: takes files, says what they are, has the worker restore them, and shows the result beside bicubic's.

import { FileProblem, ModelProblem, Restorer, inspect, isModel, noteOf, shown, toImageData, toPng } from "./coscale/index.js";

const PLACES = { webgpu: "on the graphics processor", wasm: "on the processor" };

const at = (id) => document.getElementById(id);
let own = []; // the upscalers of this page: no file that is dropped takes their place
let dropped = []; // the newest first
const restorer = new Restorer({ models: [] });
let running = null; // what gives up the file that is being restored
let drops = 0; // files so far
let current = 0; // the one that is restored: a newer LR file takes its place, a file that is none does not

function say(text, isProblem = false) {
  at("status").textContent = text;
  at("status").classList.toggle("problem", isProblem);
}

const started = fetch("models.json")
  .then((answer) => answer.json())
  .then((listed) => (own = listed.map((note) => ({ ...note, label: note.rescaler }))))
  .catch(() => say("This page has no models.json beside it; write it anew with “coscale web”.", true))
  .finally(offerModels);

function offerModels() {
  const known = [...own, ...dropped];
  restorer.use(known);
  const names = known.map(({ label }) => label);
  at("models").textContent = names.length ? `This page restores files by ${new Intl.ListFormat("en").format(names)}.` : "";
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
    if (drop >= current && error.name !== "AbortError") say(`${shown(file.name)} ${problemOf(error)}`, true);
  }
}

function problemOf(error) {
  if (error instanceof ModelProblem) {
    const { isOther, rescaler } = error;
    const lack = isOther ? `by other weights of ${rescaler} than this page has` : `by ${rescaler}, which this page does not have`;
    return `was made ${lack}; drop ${isOther ? "their" : "its"} ONNX file first.`;
  }
  return error instanceof FileProblem ? error.message : `cannot be read (${shown(error.message)}).`;
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
  offerModels();
  const which = isOwnName ? `, of other weights than this page's own (${note.weights_hash.slice(0, 12)})` : "";
  say(`${shown(file.name)} restores LR files by ${rescaler} at ×${scale}${which}; now drop one.`);
}

async function restore(file, bytes, drop) {
  const found = await inspect(bytes);
  const { origin } = found;
  const model = await restorer.modelOf(origin);
  if (drop < current) return;
  current = drop;
  running?.abort();
  running = new AbortController();
  const [wide, high] = [origin.width, origin.height].map((side) => Math.ceil(side / origin.scale));
  const words = `Restoring ${shown(file.name)}: ${wide} × ${high} to ${origin.width} × ${origin.height} by ${model.label} …`;
  say(words);
  at("progress").hidden = false;
  at("progress").value = 0;
  try {
    const onProgress = (done) => (at("progress").value = done);
    const result = await restorer.restore(bytes, { ...found, compare: true, onProgress, signal: running.signal });
    if (drop !== current) return;
    await show(file, result);
    if (at("status").textContent === words) say(""); // else it is about a file that came meanwhile
  } finally {
    if (drop === current) at("progress").hidden = true;
  }
}

async function show(file, result) {
  const { origin, width, height, bicubic, seconds, provider, model } = result;
  draw(at("bicubic"), { ...result, data: bicubic });
  draw(at("restored"), result);
  const saved = await toPng(result);
  URL.revokeObjectURL(at("save").href);
  at("save").href = URL.createObjectURL(saved);
  at("save").download = file.name.replace(/(\.x\d+)?\.(png|webp|jxl|jpe?g|avif)$/i, "") + ".restored.png";
  const size = `${width} × ${height} from ${Math.ceil(width / origin.scale)} × ${Math.ceil(height / origin.scale)}`;
  at("facts").textContent = `${size} by ${model.label}, ${seconds.toFixed(1)} s ${PLACES[provider]}`;
  at("compare").style.setProperty("--width", `${width}px`);
  at("compare").style.setProperty("--ratio", `${width} / ${height}`);
  at("result").hidden = false;
}

function draw(canvas, photo) {
  canvas.width = photo.width;
  canvas.height = photo.height;
  canvas.getContext("2d").putImageData(toImageData(photo), 0, 0);
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
