// <coscale-img src="photo.x2.webp" models="/coscale/models.json">: an image that is restored where its pixels are too few.

import { FileProblem, Kept, Restorer, inspect } from "./index.js";
import { shown } from "./origin.js";

const NAME = "coscale-img";
const IMAGE = ["src", "srcset", "crossorigin"]; // what says which image it is
const PASSED = [...IMAGE, "sizes", "alt", "width", "height", "loading", "decoding", "fetchpriority", "referrerpolicy"];
const PLACES = ["models", "runtime", "jxl", "worker"]; // of what restores it
const OWN = [...PLACES, "restore"];
const NEAR = "25%"; // of the view, how far outside of it an image is as good as seen

const looks = new CSSStyleSheet();
looks.replaceSync(`
  :host { display: inline-block; position: relative; max-width: 100%; vertical-align: bottom; }
  :host([hidden]) { display: none; }
  img, .over, ::slotted(img) { display: block; width: 100%; height: 100%; }
  slot, img, .over, ::slotted(img) { object-fit: inherit; object-position: inherit; border-radius: inherit; }
  .over { position: absolute; inset: 0; }
  :host([state="restored"]) .small { opacity: 0; } /* else it would shine through what is transparent */
`);

const kept = new Kept();
const restorers = new Map(); // one for all elements that say the same of where things are
const addressOf = (text) => new URL(text, document.baseURI).href;

function restorerOf(element) {
  const given = PLACES.filter((name) => element.hasAttribute(name)).map((name) => [name, addressOf(element.getAttribute(name))]);
  const options = Object.fromEntries(given);
  if (!options.models) {
    throw new FileProblem("cannot be restored without upscalers: the attribute “models” has to say where models.json is.");
  }
  const key = JSON.stringify(given);
  if (!restorers.has(key)) restorers.set(key, new Restorer(options));
  return restorers.get(key);
}

/** Say when the screen's dots for a CSS pixel become others: a page is zoomed, or its window goes to another screen. */
function watchDots(say, signal) {
  const again = () => {
    say();
    watchDots(say, signal);
  };
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", again, { once: true, signal });
}

/** The address of an image, also before it has chosen one of its srcset. */
const addressIn = ({ currentSrc, src }) => currentSrc || src;

/** What an address calls its file, for people. */
function nameIn(address) {
  const name = address.split(/[?#]/)[0].split("/").at(-1);
  try {
    return shown(decodeURIComponent(name)) || NAME;
  } catch {
    return shown(name);
  }
}

/** An image whose small file is restored when it is wanted. index.d.ts and README.md say how a page speaks with it. */
export class CoscaleImage extends HTMLElement {
  static observedAttributes = [...PASSED, ...OWN];

  #own = document.createElement("img");
  #size = new CSSStyleSheet();
  #isSeen = false;
  #work = null; // what ends the restoring that is under way
  #address = null; // of the restored photo
  #over = null; // the element that shows it
  #source = null; // the address that was restored, or is being, or could not be; null where the image itself failed
  #unwatch = null;
  #isNoted = false; // whether a look has been asked for
  #file = null; // address and size of the file that srcset chose, as soon as that is known

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [looks, this.#size]; // which a page's policy on styles lets pass
    const slot = document.createElement("slot");
    slot.className = "small";
    this.#own.part = "image";
    this.#own.className = "small";
    slot.append(this.#own);
    root.append(slot);
    for (const kind of ["load", "error"]) root.addEventListener(kind, (event) => this.#loaded(event), { capture: true });
  }

  /** “small”, “restoring”, “restored” or “failed”. */
  get state() {
    return this.getAttribute("state") ?? "small";
  }

  /** What keeps it from being restored, as a sentence; empty for nothing. */
  get problem() {
    return this.getAttribute("problem") ?? "";
  }

  /** The ordinary image: that of the page within the element, where there is one, or the element's own. */
  get image() {
    return this.querySelector(":scope > img") ?? this.#own;
  }

  get src() {
    return this.getAttribute("src") ?? "";
  }

  set src(text) {
    this.setAttribute("src", text);
  }

  connectedCallback() {
    const look = () => this.#note();
    const sight = new IntersectionObserver((entries) => {
      this.#isSeen = entries.at(-1).isIntersecting;
      look();
    }, { rootMargin: NEAR });
    const size = new ResizeObserver(look);
    sight.observe(this);
    size.observe(this);
    const ending = new AbortController();
    const { signal } = ending;
    watchDots(look, signal);
    addEventListener("resize", look, { signal });
    visualViewport?.addEventListener("resize", look, { signal });
    navigator.connection?.addEventListener?.("change", look, { signal });
    this.#unwatch = () => {
      sight.disconnect();
      size.disconnect();
      ending.abort();
    };
    const { image } = this;
    if (image.complete && image.currentSrc && !image.naturalWidth) this.#broken(); // before this program came
  }

  disconnectedCallback() {
    this.#unwatch?.();
    this.#isSeen = false;
    this.#reset();
  }

  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (PASSED.includes(name)) {
      if (value === null) this.#own.removeAttribute(name);
      else this.#own.setAttribute(name, value);
    }
    if (name === "width" || name === "height") this.#measure();
    else if ([...IMAGE, ...OWN].includes(name)) this.#reset();
    this.#note();
  }

  /** As HTML has it for images: what the attributes say holds unless a style says otherwise. */
  #measure() {
    const [width, height] = ["width", "height"].map((name) => this.getAttribute(name)?.match(/^\d+$/)?.[0]);
    const ratio = width && height ? `aspect-ratio: auto ${width} / ${height};` : "";
    const sides = `${width ? `width: ${width}px;` : ""} ${height && !width ? `height: ${height}px;` : ""}`;
    this.#size.replaceSync(`:host { ${sides} ${ratio} }`);
  }

  /** Back to the small image, with nothing under way. */
  #reset() {
    this.#work?.abort();
    this.#work = null;
    this.#over?.remove();
    this.#over = null;
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = this.#source = null;
    this.removeAttribute("problem");
    this.removeAttribute("state");
  }

  #loaded({ type, target }) {
    if (target !== this.image) return;
    if (type === "error") {
      this.#broken();
      return;
    }
    if (this.state !== "small" && this.#source !== target.currentSrc) this.#reset(); // as srcset may choose another one
    this.#note();
  }

  /** The pixels of the file. Of one that srcset chose, an image says instead how large it is meant to be shown. */
  #pixels() {
    const { srcset, currentSrc, naturalWidth: width, naturalHeight: height } = this.image;
    if (!srcset) return { width, height };
    if (this.#file?.address !== currentSrc) this.#sizeUp(this.image);
    return this.#file;
  }

  async #sizeUp({ currentSrc: address, crossOrigin, referrerPolicy }) {
    const file = { address, width: Infinity, height: Infinity }; // until it is known: nothing is drawn larger
    this.#file = file;
    const plain = Object.assign(new Image(), { crossOrigin, referrerPolicy });
    await new Promise((done) => {
      plain.onload = plain.onerror = done;
      plain.src = address; // which the page has already
    });
    if (plain.naturalWidth) Object.assign(file, { width: plain.naturalWidth, height: plain.naturalHeight });
    this.#note();
  }

  #broken() {
    this.#fail(new FileProblem("cannot be loaded as an image; look at its address and its format."));
  }

  /** Look once, however much has changed since the last time. */
  #note() {
    if (this.#isNoted) return;
    this.#isNoted = true;
    queueMicrotask(() => {
      this.#isNoted = false;
      if (this.isConnected && this.state === "small" && this.#isWanted()) this.restore();
    });
  }

  /** Whether pixels of the file are larger than dots of the screen, which have `dots` to a CSS pixel. */
  #isEnlarged(dots) {
    const { image } = this;
    const { naturalWidth, naturalHeight } = image;
    const file = this.#pixels();
    const box = image.getBoundingClientRect();
    const fits = [box.width / naturalWidth, box.height / naturalHeight];
    const whole = Math.min(...fits);
    const same = {
      contain: whole,
      cover: Math.max(...fits),
      none: 1,
      "scale-down": Math.min(1, whole),
    }[getComputedStyle(image).objectFit];
    const [across, down] = same ? [same, same] : fits;
    const isMore = (drawn, pixels) => Math.round(drawn * dots) > pixels;
    return isMore(across * naturalWidth, file.width) || isMore(down * naturalHeight, file.height);
  }

  /** Whether it is seen, larger than its pixels, and the visitor does not save data. */
  #isWanted() {
    const { image } = this;
    const how = this.getAttribute("restore") ?? "auto";
    if (how === "never" || !this.#isSeen || !image.naturalWidth) return false;
    if (how === "always") return true;
    const dots = devicePixelRatio * (visualViewport?.scale ?? 1);
    return !navigator.connection?.saveData && this.#isEnlarged(dots);
  }

  /** How far it is from the view's middle, in pixels: what is nearer is restored first. */
  #distance() {
    const { top, bottom, left, right } = this.getBoundingClientRect();
    return Math.hypot((top + bottom - innerHeight) / 2, (left + right - innerWidth) / 2);
  }

  /** Restore it now; the promise says whether it is restored. What keeps it from that is told as of any other time. */
  async restore() {
    if (this.state === "restored" || this.state === "restoring") return this.state === "restored";
    this.#reset();
    const work = new AbortController();
    this.#work = work;
    this.#source = addressIn(this.image);
    this.setAttribute("state", "restoring");
    const begun = performance.now();
    try {
      const { png, ...detail } = await this.#restored(work.signal);
      await this.#show(png, work.signal);
      this.setAttribute("state", "restored");
      this.#tell("coscale-restored", { ...detail, milliseconds: performance.now() - begun });
      return true;
    } catch (error) {
      if (!work.signal.aborted) this.#fail(error, this.#source);
      return false;
    } finally {
      if (this.#work === work) this.#work = null;
    }
  }

  /** The PNG of the restored photo, kept from an earlier time or made now. */
  async #restored(signal) {
    const bytes = await this.#bytes(signal);
    const { origin, channels } = await inspect(bytes);
    const { width, height, rescaler } = origin;
    const restorer = restorerOf(this);
    const key = await kept.keyOf(bytes, await restorer.modelOf(origin));
    const before = await kept.find(key);
    signal.throwIfAborted();
    if (before) return { png: before, width, height, rescaler, cached: true };
    const onTile = (tile) => this.#paint(tile, origin);
    const made = await restorer.restorePng(bytes, { signal, origin, channels, onTile, priority: () => this.#distance() });
    await kept.keep(key, made.png);
    const { png, provider, seconds } = made;
    return { png, width, height, rescaler, provider, seconds, cached: false };
  }

  async #bytes(signal) {
    const { image } = this;
    const credentials = image.crossOrigin === "use-credentials" ? "include" : "same-origin";
    const answer = await fetch(addressIn(image), { signal, credentials }).catch((error) => {
      if (signal.aborted) throw error;
      const why = "its server does not let other pages read it (CORS), this page's policy forbids it, or it is gone";
      throw new FileProblem(`cannot be read: ${why}.`);
    });
    if (!answer.ok) throw new FileProblem(`cannot be read: its server answers ${answer.status}.`);
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** A tile that is done, above the small image. */
  #paint({ x, y, width, height, data }, photo) {
    if (!this.#over) {
      this.#over = document.createElement("canvas");
      Object.assign(this.#over, { className: "over", width: photo.width, height: photo.height, ariaHidden: "true" });
      this.shadowRoot.append(this.#over);
    }
    this.#over.getContext("2d").putImageData(new ImageData(data, width, height), x, y);
  }

  async #show(png, signal) {
    const over = document.createElement("img");
    Object.assign(over, { className: "over", alt: "", ariaHidden: "true", part: "restored" });
    const address = URL.createObjectURL(png);
    over.src = address;
    try {
      await over.decode();
      signal.throwIfAborted();
    } catch (error) {
      URL.revokeObjectURL(address);
      if (signal.aborted) throw error;
      throw new FileProblem("cannot be shown restored: this page's policy has to let images of “blob:” pass (img-src).");
    }
    this.#over?.remove();
    [this.#over, this.#address] = [over, address];
    this.shadowRoot.append(over);
  }

  /** Stay small, until `source`, an address that was tried in vain, gives way to another one. */
  #fail(error, source = null) {
    this.#reset();
    this.#source = source;
    const said = error instanceof FileProblem ? error.message : `could not be restored: ${error.message}`;
    const problem = `${nameIn(addressIn(this.image) || this.src)} ${said}`;
    this.setAttribute("problem", problem);
    this.setAttribute("state", "failed");
    console.warn(`coscale: ${problem}`);
    this.#tell("coscale-failed", { problem, error });
  }

  #tell(kind, detail) {
    const told = { src: this.image.currentSrc, ...detail };
    this.dispatchEvent(new CustomEvent(kind, { bubbles: true, composed: true, detail: told }));
  }
}

if (!customElements.get(NAME)) customElements.define(NAME, CoscaleImage);
