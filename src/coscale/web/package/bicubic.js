// Bicubic at a whole scale as MATLAB's imresize does it, and as coscale's alpha and its comparisons are made.

function cubic(x) {
  const a = Math.abs(x);
  if (a <= 1) return 1.5 * a ** 3 - 2.5 * a ** 2 + 1;
  return a <= 2 ? -0.5 * a ** 3 + 2.5 * a ** 2 - 4 * a + 2 : 0;
}

/** What each of the pixels that come of one takes of its neighbours, as [offset, weight]. */
function phases(scale) {
  return Array.from({ length: scale }, (_, phase) => {
    const centre = (phase + 0.5) / scale - 0.5;
    const offsets = Array.from({ length: 5 }, (_, i) => Math.floor(centre - 2) + 1 + i);
    return offsets.map((offset) => [offset, cubic(centre - offset)]).filter(([, weight]) => weight);
  });
}

const mirrored = (i, size) => Math.max(0, Math.min(i < 0 ? -1 - i : i, 2 * size - 1 - (i < 0 ? -1 - i : i)));

/** One plane of 8-bit samples, `scale` times as high and as wide; rounded. */
export function enlarge(plane, width, height, scale) {
  const taps = phases(scale);
  const wide = width * scale;
  const rows = new Float32Array(wide * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let phase = 0; phase < scale; phase++) {
        let sum = 0;
        for (const [offset, weight] of taps[phase]) sum += plane[y * width + mirrored(x + offset, width)] * weight;
        rows[y * wide + x * scale + phase] = sum;
      }
    }
  }
  const out = new Uint8ClampedArray(wide * height * scale);
  for (let y = 0; y < height; y++) {
    for (let phase = 0; phase < scale; phase++) {
      const lines = taps[phase].map(([offset, weight]) => [mirrored(y + offset, height) * wide, weight]);
      const to = (y * scale + phase) * wide;
      for (let x = 0; x < wide; x++) {
        let sum = 0;
        for (const [line, weight] of lines) sum += rows[line + x] * weight;
        out[to + x] = sum;
      }
    }
  }
  return out;
}
