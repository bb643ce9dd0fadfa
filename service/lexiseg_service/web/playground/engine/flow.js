// Optical flow by dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016), as
// OpenCV's, without its variational refinement: patches are matched by gradient descent, coarse to fine.

import { resized } from "./maps.js";

/**
 * How far to the right and down each pixel of `now` was in `before`: [2 h w].
 *
 * @param {Float32Array} now gray [h * w]
 * @param {Float32Array} before gray [h * w]
 * @param {number[]} size [h, w]
 * @param {{patch: number, stride: number, finest: number, steps: number}} settings
 */
export function shiftsOf(now, before, size, settings) {
  const { patch, finest } = settings;
  const scales = [Math.log2(Math.max(...size) / (4 * patch)) + 0.5, Math.log2(Math.min(...size) / patch)].map(Math.floor);
  let [shifts, from] = [new Float32Array(2 * size[0] * size[1]), size];
  for (let scale = Math.min(...scales); scale >= finest; scale--) {
    const to = size.map((side) => Math.floor(side / 2 ** scale));
    const [one, other] = [now, before].map((gray) => resized(gray, size, to, 1, 1, false, Float32Array));
    shifts = searched(one, other, to, scaled(shifts, from, to), settings);
    from = to;
  }
  return scaled(shifts, from, size);
}

/** @param {number[]} from @param {number[]} to */
function scaled(shifts, from, to) {
  return resized(shifts, from, to, 2, 2, true, Float32Array).map((value, i) => (value * to[1 - (i % 2)]) / from[1 - (i % 2)]);
}

/** Match each patch from the coarser shift or a neighbour's; a pixel gets the mean shift of its patches, weighted by their match. @param {number[]} size */
function searched(now, before, size, start, { patch, stride, steps }) {
  const [h, w] = size;
  const slopes = slopesOf(now, size);
  const [rows, columns] = [h, w].map((side) => Math.ceil((side - patch) / stride) + 1);
  const sums = new Float32Array(2 * h * w);
  const weights = new Float32Array(h * w);
  const matches = [];
  for (let i = 0; i < rows * columns; i++) {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const [top, left] = [Math.min(row * stride, h - patch), Math.min(column * stride, w - patch)];
    const middle = 2 * ((top + patch / 2) * w + left + patch / 2);
    const starts = [{ x: start[middle], y: start[middle + 1] }, ...(column ? [matches[i - 1]] : []), ...(row ? [matches[i - columns]] : [])];
    const cells = Array.from({ length: patch * patch }, (_, place) => (top + Math.floor(place / patch)) * w + left + (place % patch));
    const ends = starts.map((from) => descended(now, before, slopes, size, cells, from, steps));
    const best = ends.reduce((one, other) => (other.error < one.error ? other : one));
    matches.push(best);
    cells.forEach((cell) => {
      const weight = 1 / Math.max(1, Math.abs(at(before, size, (cell % w) + best.x, Math.floor(cell / w) + best.y) - now[cell]));
      weights[cell] += weight;
      sums[2 * cell] += weight * best.x;
      sums[2 * cell + 1] += weight * best.y;
    });
  }
  return sums.map((sum, i) => sum / weights[i >> 1]);
}

/**
 * The shift {x, y, error} of a patch after at most `steps` Gauss-Newton steps; differences of mean brightness are ignored.
 * @param {number[]} size
 * @param {number[]} cells
 */
function descended(now, before, slopes, size, cells, { x, y }, steps) {
  const w = size[1];
  const n = cells.length;
  const [sumX, sumY, xx, xy, yy] = cells.reduce(([sx, sy, a, b, c], cell) => {
    const [across, down] = [slopes.x[cell], slopes.y[cell]];
    return [sx + across, sy + down, a + across * across, b + across * down, c + down * down];
  }, [0, 0, 0, 0, 0]);
  const [a, b, c] = [xx - (sumX * sumX) / n, xy - (sumX * sumY) / n, yy - (sumY * sumY) / n];
  const scale = a * c - b * b;
  let best = { x, y, error: Infinity };
  for (let step = 0; step <= steps; step++) {
    let [sum, squares, alongX, alongY] = [0, 0, 0, 0];
    for (const cell of cells) {
      const difference = at(before, size, (cell % w) + x, Math.floor(cell / w) + y) - now[cell];
      sum += difference;
      squares += difference * difference;
      alongX += difference * slopes.x[cell];
      alongY += difference * slopes.y[cell];
    }
    const error = squares - (sum * sum) / n;
    if (!(error < best.error)) break;
    best = { x, y, error };
    if (Math.abs(scale) < 1e-6) break; // no texture: the system is singular
    const [right, down] = [alongX - (sum * sumX) / n, alongY - (sum * sumY) / n];
    x -= (c * right - b * down) / scale;
    y -= (a * down - b * right) / scale;
  }
  return best;
}

/** Brightness gradients {x, y} [h * w], to the right and down; edge pixels are replicated. @param {number[]} size */
function slopesOf(gray, size) {
  const [h, w] = size;
  const [x, y] = [new Float32Array(h * w), new Float32Array(h * w)];
  for (let cell = 0; cell < h * w; cell++) {
    const [row, column] = [Math.floor(cell / w), cell % w];
    x[cell] = (gray[row * w + Math.min(column + 1, w - 1)] - gray[row * w + Math.max(column - 1, 0)]) / 2;
    y[cell] = (gray[Math.min(row + 1, h - 1) * w + column] - gray[Math.max(row - 1, 0) * w + column]) / 2;
  }
  return { x, y };
}

/** Bilinear sample at (x, y) of the map [h * w] that begins at `start`; edge cells are replicated. @param {number[]} size */
export function at(map, size, x, y, start = 0) {
  const [h, w] = size;
  const [column, row] = [Math.min(Math.max(x, 0), w - 1), Math.min(Math.max(y, 0), h - 1)];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const [right, below] = [left < w - 1 ? 1 : 0, top < h - 1 ? w : 0];
  const corner = start + top * w + left;
  const upper = map[corner] + (column - left) * (map[corner + right] - map[corner]);
  const lower = map[corner + below] + (column - left) * (map[corner + below + right] - map[corner + below]);
  return upper + (row - top) * (lower - upper);
}
