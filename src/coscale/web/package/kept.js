// Restored photos that the browser keeps (Cache Storage), so that a second visit computes nothing.

import { VERSION } from "./version.js";

const NAME = "coscale";
const FOLDER = "/.coscale/"; // of addresses that name what is kept, and that nothing is ever asked for under
const MOST_BYTES = 200e6;
const KEY = /^[0-9a-f]+$/; // nothing else becomes part of an address

/** SHA-256, in hexadecimal digits. */
async function digest(bytes) {
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** What was restored, by its LR file, the precision of the upscaler and the version; the oldest goes where it gets too much. */
export class Kept {
  constructor({ maxBytes = MOST_BYTES } = {}) {
    this.maxBytes = maxBytes;
  }

  /**
   * The key of what an LR file, which names the weights itself, restores to by an upscaler; null where the page is not secure,
   * and nothing can be kept.
   */
  async keyOf(bytes, { precision = "" }) {
    if (!globalThis.caches || !globalThis.crypto?.subtle) return null;
    return digest(new TextEncoder().encode(`${await digest(bytes)} ${VERSION} ${precision}`));
  }

  /** The PNG that is kept under a key; null where there is none, or where the browser keeps nothing. */
  async find(key) {
    if (!KEY.test(key ?? "") || !this.maxBytes) return null;
    try {
      const found = await (await caches.open(NAME)).match(FOLDER + key, { ignoreSearch: true });
      return found ? await found.blob() : null;
    } catch {
      return null; // of a browser that forbids it, as some do to pages within others
    }
  }

  /** Keep a PNG under a key. That it could not be kept is no failure: the photo is there. */
  async keep(key, png) {
    if (!KEY.test(key ?? "") || png.size > this.maxBytes) return;
    try {
      const cache = await caches.open(NAME);
      await cache.put(`${FOLDER}${key}?bytes=${png.size}`, new Response(png, { headers: { "Content-Type": png.type } }));
      await this.#tidy(cache);
    } catch (error) {
      console.info("coscale: the browser does not keep the restored photo:", error);
    }
  }

  /** Remove all that is kept. */
  async clear() {
    await caches.delete(NAME);
  }

  async #tidy(cache) {
    const all = await cache.keys(); // the oldest first
    let sum = all.reduce((total, { url }) => total + sizeOf(url), 0);
    for (const request of all) {
      if (sum <= this.maxBytes) return;
      sum -= sizeOf(request.url);
      await cache.delete(request);
    }
  }
}

const sizeOf = (url) => Number(new URL(url).searchParams.get("bytes")) || 0;
