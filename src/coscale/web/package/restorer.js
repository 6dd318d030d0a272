// Restores photos from LR files: one after the other, in a worker that all of them share.

import { parse } from "./lr.js";
import { originOf, shown } from "./origin.js";
import { FileProblem } from "./png.js";

const MOST_PIXELS = 50e6; // of a restored photo: a browser tab has little more memory than that takes
const BRIEF = 16; // digits of a hash of weights in notes that have to be short
const IDLE = 30_000; // milliseconds without work, after which the worker's memory is given back
const WORKER = () => new Worker(new URL("./worker.js", import.meta.url), { type: "module" }); // as bundlers know it

const ABSENT = "its worker did not start; look at the worker's address, and at this page's policy (worker-src).";

/** No upscaler here fits an LR file; `isOther` says that there is one of the name, with other weights. */
export class ModelProblem extends FileProblem {
  constructor(name, isOther) {
    const lack = isOther ? `by other weights of ${name} than are here` : `by ${name}, which is not here`;
    super(`was made ${lack}; write the models of this page anew with “coscale web DIR --rescaler ${name}”.`);
    Object.assign(this, { name: "ModelProblem", rescaler: name, isOther });
  }
}

/** Whether an upscaler has the weights that a note names, if only by the beginning of their hash. */
export function isFor(model, { rescaler, scale, weights_hash: hash }) {
  const isHash = hash.length === BRIEF ? model.weights_hash.startsWith(hash) : model.weights_hash === hash;
  return model.rescaler === rescaler && model.scale === scale && isHash;
}

/** What the bytes of an LR file say: of their origin, and of the image. Throws FileProblem for what is none. */
export async function inspect(bytes) {
  const image = parse(bytes);
  const { origin, channels } = await originOf(image);
  if (origin.shown === true) {
    throw new FileProblem("needs no page: whatever shows JPEG XL shows the photo restored, and so does your browser if it does.");
  }
  if (image.isLossy && origin.level == null) {
    throw new FileProblem(`is a lossy ${image.form}, by which its note does not go; give the file as coscale wrote it.`);
  }
  return { origin, channels };
}

/** Restores photos by the upscalers that `coscale web` or `coscale export` wrote. index.d.ts says what its options are. */
export class Restorer {
  #given;
  #listed = null; // the promise of the upscalers
  #base;
  #options;
  #worker = null;
  #waiting = [];
  #running = null;
  #idle = 0;
  #jobs = 0;

  constructor({ models, ...options }) {
    const isList = Array.isArray(models);
    this.#given = isList ? models : new URL(models, document.baseURI).href;
    this.#base = isList ? document.baseURI : this.#given;
    this.#options = { runtime: "ort/", jxl: "jxl/", worker: null, maxPixels: MOST_PIXELS, idle: IDLE, ...options };
  }

  /** Take these upscalers for what comes from now on. */
  use(models) {
    [this.#given, this.#listed] = [models, null];
  }

  /** The upscalers, each with the address of its file. */
  async models() {
    const asked = (this.#listed ??= this.#list(this.#given)); // once, however many ask
    try {
      return await asked;
    } catch (error) {
      if (this.#listed === asked) this.#listed = null; // the next one tries again
      throw error;
    }
  }

  /** The upscaler for an origin; throws FileProblem where there is none, or the photo is too large. */
  async modelOf(origin) {
    const { width, height, rescaler, scale } = origin;
    const { maxPixels } = this.#options;
    if (width * height > maxPixels) {
      const most = `${Math.round(width * height / 1e6)} megapixels, more than the ${maxPixels / 1e6} that this page takes`;
      throw new FileProblem(`is of a photo of ${most}; use “coscale upscale”.`);
    }
    const models = await this.models();
    const model = models.find((one) => isFor(one, origin));
    if (model) return model;
    throw new ModelProblem(shown(rescaler), models.some((one) => one.rescaler === rescaler && one.scale === scale));
  }

  /** Restore a photo from the bytes of its LR file; its samples are given, row by row. */
  restore(bytes, options = {}) {
    return this.#ordered(bytes, { ...options, png: false });
  }

  /** The same as a PNG, which the worker makes: the page's own thread sees no pixel. */
  restorePng(bytes, options = {}) {
    return this.#ordered(bytes, { ...options, png: true });
  }

  /** Give up all that waits or is under way, and the worker's memory. */
  close() {
    for (const job of [this.#running, ...this.#waiting.splice(0)]) job?.reject(stopped());
    this.#end();
  }

  async #list(given) {
    const read = (answer) => (answer.ok ? answer.json() : null);
    const listed = Array.isArray(given) ? given : await fetch(given).then(read).catch(() => null);
    if (Array.isArray(listed)) return listed.map((model) => this.#located(model));
    throw new FileProblem(`needs the list of upscalers, and ${shown(given)} is none; write it with “coscale web”.`);
  }

  #located(model) {
    const source = model.bytes ?? new URL(model.file, this.#base).href;
    return { ...model, source, key: model.key ?? model.file };
  }

  async #ordered(bytes, { signal, onProgress, onTile, priority = () => 0, compare = false, png, origin, channels }) {
    signal?.throwIfAborted();
    if (!origin) ({ origin, channels } = await inspect(bytes));
    const model = await this.modelOf(origin);
    signal?.throwIfAborted();
    const folder = (name) => new URL(this.#options[name], this.#base).href;
    const places = { runtime: folder("runtime"), jxl: folder("jxl") };
    const message = { id: ++this.#jobs, bytes, origin, channels, model, ...places, compare, png, tiles: Boolean(onTile) };
    const job = { message, onProgress, onTile, priority };
    const result = new Promise((resolve, reject) => Object.assign(job, { resolve, reject }));
    const giveUp = () => this.#giveUp(job, signal.reason);
    signal?.addEventListener("abort", giveUp);
    this.#waiting.push(job);
    this.#next();
    try {
      return { ...(await result), origin, model };
    } finally {
      signal?.removeEventListener("abort", giveUp); // a signal may live longer than a job, and would hold it
    }
  }

  #giveUp(job, reason) {
    job.reject(reason);
    this.#waiting = this.#waiting.filter((one) => one !== job);
    if (this.#running === job) this.#end(); // there is no other way to stop what computes
    this.#next();
  }

  #end() {
    clearTimeout(this.#idle);
    this.#worker?.terminate();
    this.#worker = this.#running = null;
  }

  #next() {
    if (this.#running) return;
    clearTimeout(this.#idle);
    if (!this.#waiting.length) {
      this.#idle = setTimeout(() => this.#end(), this.#options.idle);
      return;
    }
    const first = this.#waiting.map((job) => job.priority()).reduce((best, value, i, all) => (value < all[best] ? i : best), 0);
    [this.#running] = this.#waiting.splice(first, 1);
    try {
      this.#worker ??= this.#started();
      this.#worker.postMessage(this.#running.message);
    } catch (error) {
      this.#failed(`its worker cannot be started (${error.message})`);
    }
  }

  #started() {
    const { worker } = this.#options;
    const made = worker ? new Worker(worker, { type: "module" }) : WORKER();
    made.onmessage = ({ data }) => this.#hear(data);
    made.onerror = ({ message }) => this.#failed(message ? "the browser stopped the work; try a smaller one." : ABSENT);
    return made;
  }

  #hear({ id, done, tile, result, problem, isOfFile }) {
    const job = this.#running;
    if (job?.message.id !== id) return;
    if (done !== undefined) {
      job.onProgress?.(done);
      if (tile) job.onTile(tile);
      return;
    }
    if (problem !== undefined && !isOfFile) {
      this.#failed(shown(problem));
      return;
    }
    this.#running = null;
    if (result) job.resolve(result);
    else job.reject(new FileProblem(problem));
    this.#next();
  }

  /** End a worker that failed: it would fail again. */
  #failed(problem) {
    const job = this.#running;
    this.#end();
    job?.reject(new FileProblem(`could not be restored: ${problem}`));
    this.#next();
  }
}

const stopped = () => new DOMException("The restorer was closed.", "AbortError");
