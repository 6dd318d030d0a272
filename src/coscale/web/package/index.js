// What other programs take of this package; index.d.ts says what each of it is.

export { Kept } from "./kept.js";
export { isModel, noteOf } from "./model.js";
export { shown } from "./origin.js";
export { toImageData, toPng } from "./pixels.js";
export { FileProblem } from "./png.js";
export { ModelProblem, Restorer, inspect, isFor } from "./restorer.js";
export { VERSION } from "./version.js";
