// node mozjpeg.mjs PACKAGE WIDTH HEIGHT QUALITY < rgba > file.jpg: mozjpeg at its best for PSNR.
// PACKAGE is the folder of the npm package @jsquash/jpeg. Flat tables, and trellis quantisation as mozjpeg has it.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, width, height, quality] = process.argv.slice(2);
const encoder = (await import(pathToFileURL(`${folder}/codec/enc/mozjpeg_enc.js`))).default;
const { defaultOptions } = await import(pathToFileURL(`${folder}/meta.js`));
const wasm = readFileSync(`${folder}/codec/enc/mozjpeg_enc.wasm`);
const mozjpeg = await encoder({
  noInitialRun: true,
  instantiateWasm(imports, done) {
    const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), imports);
    done(instance);
    return instance.exports;
  },
});
const pixels = new Uint8ClampedArray(readFileSync(0));
const options = { ...defaultOptions, quality: Number(quality), quant_table: 1, trellis_multipass: true };
process.stdout.write(mozjpeg.encode(pixels, Number(width), Number(height), options));
