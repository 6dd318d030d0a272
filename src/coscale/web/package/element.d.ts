export type CoscaleState = "small" | "restoring" | "restored" | "failed";

/** What the event `coscale-restored` tells. */
export interface CoscaleRestored {
  readonly src: string;
  /** Of the photo, in pixels. */
  readonly width: number;
  readonly height: number;
  readonly rescaler: string;
  /** Whether it was kept from an earlier time; then nothing was computed, and there is no `provider`. */
  readonly cached: boolean;
  readonly provider?: "webgpu" | "wasm";
  /** In the worker. */
  readonly seconds?: number;
  /** From being wanted to being shown. */
  readonly milliseconds: number;
}

/** What the event `coscale-failed` tells. */
export interface CoscaleFailed {
  readonly src: string;
  /** A sentence for people, which the attribute `problem` has too. */
  readonly problem: string;
  readonly error: Error;
}

/** `<coscale-img>`: an ordinary small image, restored where its pixels are too few. */
export class CoscaleImage extends HTMLElement {
  src: string;
  readonly state: CoscaleState;
  /** Why it could not be restored; empty where nothing speaks against it. */
  readonly problem: string;
  /** The ordinary image. */
  readonly image: HTMLImageElement;
  /** Restore it now, whatever its size; gives whether it is restored, and rejects never. */
  restore(): Promise<boolean>;
}

declare global {
  interface HTMLElementTagNameMap {
    "coscale-img": CoscaleImage;
  }
  interface HTMLElementEventMap {
    "coscale-restored": CustomEvent<CoscaleRestored>;
    "coscale-failed": CustomEvent<CoscaleFailed>;
  }
}
