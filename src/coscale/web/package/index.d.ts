/** What an LR file says of its origin. */
export interface Origin {
  readonly rescaler: string;
  /** SHA-256 of the weights; in files of lossy formats its first 16 digits; empty where there are no weights. */
  readonly weights_hash: string;
  readonly scale: number;
  /** Of the photo, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Of the coscale that made the file. */
  readonly version: string;
  readonly grey?: "L" | "RGB" | null;
  /** What the upscaler is told of a lossy codec, 0 to 255; null or absent in a lossless file. */
  readonly level?: number | null;
}

/** An upscaler, as models.json lists it and an exported ONNX file says it of itself. */
export interface Model {
  /** The address of the ONNX file, relative to models.json; not needed where there are `bytes`. */
  readonly file?: string;
  /** The ONNX file itself. */
  readonly bytes?: Uint8Array;
  /** What tells this one from others, where `file` does not. */
  readonly key?: string;
  readonly rescaler: string;
  readonly scale: number;
  readonly weights_hash: string;
  readonly version: string;
  readonly precision: "float32" | "float16";
  /** LR pixels to add around a tile and to throw away. */
  readonly halo: number;
  /** Tiles begin at multiples of so many LR pixels. */
  readonly multiple: number;
  /** Whether it has the input `level`. */
  readonly takes_level?: boolean;
}

/** What `inspect` finds in a file. */
export interface Inspected {
  readonly origin: Origin;
  /** How many channels the file says that its image has. */
  readonly channels: number;
}

export interface RestorerOptions {
  /** The address of the models.json that `coscale web` wrote, or a list of upscalers. */
  readonly models: string | URL | readonly Model[];
  /** The folder of onnxruntime-web's files (its `dist`); "ort/" beside models.json by default. */
  readonly runtime?: string | URL;
  /** The folder of jxl-oxide-wasm, which reads JPEG XL; "jxl/" beside models.json by default. */
  readonly jxl?: string | URL;
  /** A module of one's own origin that imports "coscale/worker", for a page that takes this package from another origin. */
  readonly worker?: string | URL | null;
  /** The most pixels that a restored photo may have; 50 million by default. */
  readonly maxPixels?: number;
  /** Milliseconds without work after which the worker ends, and its memory is given back; 30 000 by default. */
  readonly idle?: number;
}

/** A part of the photo that is done, as RGBA. */
export interface Tile {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

export interface RestoreOptions {
  /** Gives the photo up, also while it is restored. */
  readonly signal?: AbortSignal;
  /** Hears the share that is done, in (0, 1]. */
  readonly onProgress?: (done: number) => void;
  /** Hears of every tile; of none where the file has a colour profile or opacity, which tiles alone cannot show rightly. */
  readonly onTile?: (tile: Tile) => void;
  /** Asked whenever the worker is free: of those that wait, the one that says the least comes first. */
  readonly priority?: () => number;
  /** What `inspect` found, where that is known. */
  readonly origin?: Origin;
  readonly channels?: number;
}

/** What is known of every restored photo. */
export interface RestoredFacts {
  /** Of the photo, in pixels. */
  readonly width: number;
  readonly height: number;
  /** Of a pixel: 1 is grey, 2 grey and opacity, 3 RGB, 4 RGBA. */
  readonly channels: 1 | 2 | 3 | 4;
  /** Chunks of a PNG that say what the colours mean, as [type, body]. */
  readonly meaning: ReadonlyArray<readonly [string, Uint8Array]>;
  readonly origin: Origin;
  readonly model: Model;
  readonly provider: "webgpu" | "wasm";
  /** In the worker, with loading what was not loaded yet. */
  readonly seconds: number;
}

export interface Restored extends RestoredFacts {
  /** Samples, row by row. */
  readonly data: Uint8ClampedArray<ArrayBuffer>;
  /** The same size by bicubic, where `compare` asked for it. */
  readonly bicubic?: Uint8ClampedArray<ArrayBuffer>;
}

export interface RestoredPng extends RestoredFacts {
  readonly png: Blob;
}

/** Restores photos, one after the other, in a worker. */
export class Restorer {
  constructor(options: RestorerOptions);
  /** Give the upscalers. Rejects with FileProblem where their list cannot be read. */
  models(): Promise<Model[]>;
  /** Take these upscalers for what comes from now on. */
  use(models: readonly Model[]): void;
  /** Give the upscaler for an origin. Rejects with FileProblem where there is none or the photo is too large. */
  modelOf(origin: Origin): Promise<Model>;
  /** Restore a photo to samples. Rejects with FileProblem, and with the signal's reason. */
  restore(bytes: Uint8Array, options?: RestoreOptions & { readonly compare?: boolean }): Promise<Restored>;
  /** Restore a photo to a PNG, made in the worker. Rejects as `restore` does. */
  restorePng(bytes: Uint8Array, options?: RestoreOptions): Promise<RestoredPng>;
  /** Give up all work, and the worker's memory; the restorer can be used again. */
  close(): void;
}

/** What a user can read of a file that cannot be restored: its message goes on from the file's name. */
export class FileProblem extends Error {}

/** No upscaler fits an LR file. */
export class ModelProblem extends FileProblem {
  readonly rescaler: string;
  /** Whether there is one of that name, with other weights. */
  readonly isOther: boolean;
}

/** Restored photos that the browser keeps. */
export class Kept {
  /** `maxBytes`: of all that is kept together, 200 million by default; 0 keeps nothing. */
  constructor(options?: { readonly maxBytes?: number });
  /** Give the key of what an LR file restores to by an upscaler, hexadecimal digits; null on a page that is not secure. */
  keyOf(bytes: Uint8Array, model: Pick<Model, "precision">): Promise<string | null>;
  find(key: string | null): Promise<Blob | null>;
  keep(key: string | null, png: Blob): Promise<void>;
  /** Remove all that is kept. */
  clear(): Promise<void>;
}

/** Give what an LR file says of its origin. Rejects with FileProblem for a file that is none. */
export function inspect(bytes: Uint8Array): Promise<Inspected>;
/** Say whether an upscaler has the weights that a note names. */
export function isFor(model: Model, origin: Origin): boolean;
/** Say whether a value is what an upscaler can say of itself. */
export function isModel(note: unknown): boolean;
/** Give what an ONNX file says of itself; null for one that `coscale export` did not write. */
export function noteOf(bytes: Uint8Array): unknown;
/** Give a stranger's text with all that hides or moves letters made visible, cut where it is long. */
export function shown(text: string): string;
/** Give what a canvas takes. */
export function toImageData(photo: Pick<Restored, "data" | "width" | "height" | "channels">): ImageData;
/** Give a PNG with what says what its colours mean. */
export function toPng(photo: Pick<Restored, "data" | "width" | "height" | "channels" | "meaning">): Promise<Blob>;
export const VERSION: string;
