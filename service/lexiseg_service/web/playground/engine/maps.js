// Resizes pictures, and converts scores to masks.

const EVEN = 1e-3; // smaller parts of a pixel are ignored, as in OpenCV's area interpolation
const FIXED = 2048; // 1 in OpenCV's fixed-point weights of bytes
const SLACK = 1e-4; // tolerance of scores: rounding must not exclude a label that could win

export function halfToEven(value) {
  const whole = Math.floor(value);
  return value - whole === 0.5 ? whole + (whole % 2) : Math.round(value);
}

/** Coordinates [x, y, x, y, ...] scaled from a picture of size `from` [height, width] to size `to`. */
export function scaled(places, from, to) {
  return places.map((place, i) => (place * to[1 - (i % 2)]) / from[1 - (i % 2)]);
}

/** Linear interpolation of `pixels` outputs between inputs `low` and `low + 1`, with the `weight` of the latter: half-pixel centres, clamped. */
function axis(cells, pixels) {
  const [low, weight] = [new Int32Array(pixels), new Float32Array(pixels)];
  for (let pixel = 0; pixel < pixels; pixel++) {
    const place = Math.min(Math.max(((pixel + 0.5) * cells) / pixels - 0.5, 0), cells - 1);
    low[pixel] = Math.min(Math.floor(place), cells - 2);
    weight[pixel] = place - low[pixel];
  }
  return { low, weight };
}

// `steps`: OpenCV's interpolation for an axis that is enlarged while the picture becomes smaller.
/** Inputs `at` and `weights` of each output along an axis, as in OpenCV: by covered area, or between two inputs, in units of 1 / `whole`. */
function taps(from, to, area, steps, whole) {
  const scale = from / to;
  return Array.from({ length: to }, (_, place) => {
    const begin = place * scale;
    const middle = Math.fround((place + 0.5) * scale - 0.5);
    let first = Math.floor(steps ? begin : middle);
    const beyond = Math.fround(steps ? Math.max(0, place + 1 - (first + 1) / scale) % 1 : middle - first);
    let weights = [1 - beyond, beyond].map((share) => (whole === 1 ? share : halfToEven(share * whole)));
    if (area) {
      const end = Math.min(begin + scale, from);
      first = Math.floor(begin + EVEN);
      const length = Math.ceil(end - EVEN) - first;
      weights = Array.from({ length }, (_, i) => Math.fround((Math.min(end, first + i + 1) - Math.max(begin, first + i)) / (end - begin)));
    }
    return { at: weights.map((_, i) => Math.min(Math.max(first + i, 0), from - 1)), weights };
  });
}

/**
 * Resizes a picture from size `from` to `to` [height, width], bit-exact with OpenCV: by area if it becomes smaller, else linear. The first
 * `kept` of `channels` numbers of each pixel are used.
 * @param {number[]} from @param {number[]} to @param {any} Kind of the array; clamped bytes are rounded, halves to even
 */
export function resized(source, from, to, channels, kept, linear = false, Kind = Uint8ClampedArray) {
  const [[height, width], [rows, columns]] = [from, to];
  const smaller = !linear && rows * columns < height * width;
  const area = smaller && rows <= height && columns <= width;
  const fixed = !area && Kind === Uint8ClampedArray; // fixed point with 11 fractional bits
  const [down, across] = [[height, rows], [width, columns]].map(([cells, pixels]) => taps(cells, pixels, area, smaller, fixed ? FIXED : 1));
  const n = columns * kept;
  const lines = [0, 1].map(() => ({ row: -1, sums: new (fixed ? Int32Array : Float32Array)(n) }));
  const lineOf = (row) => {
    const line = lines[row & 1];
    if (line.row === row) return line.sums;
    line.row = row;
    for (let column = 0; column < columns; column++) {
      const { at, weights } = across[column];
      for (let channel = 0; channel < kept; channel++) {
        let sum = 0;
        for (let tap = 0; tap < at.length; tap++) {
          sum = Math.fround(sum + Math.fround(weights[tap] * source[(row * width + at[tap]) * channels + channel]));
        }
        line.sums[column * kept + channel] = sum;
      }
    }
    return line.sums;
  };
  const target = new Kind(rows * n);
  const sums = new Float32Array(n);
  const half = height === 2 * rows && width === 2 * columns ? 1 / 8 : 0; // OpenCV rounds halves up there
  down.forEach(({ at, weights }, row) => {
    sums.fill(half);
    at.forEach((each, tap) => {
      const line = lineOf(each);
      const weight = weights[tap];
      if (fixed) for (let i = 0; i < n; i++) sums[i] += (weight * (line[i] >> 4)) >> 16;
      else for (let i = 0; i < n; i++) sums[i] += Math.fround(weight * line[i]);
    });
    if (fixed) for (let i = 0; i < n; i++) sums[i] = (sums[i] + 2) >> 2;
    target.set(sums, row * n);
  });
  return target;
}

// Interpolated scores stay between those of the four corners: only labels that can win in a cell are upsampled there. Column-major maps.
/** Label and probability of each pixel [H, W] by bilinear upsampling of scores [K, h, w], and the sum of these (`votes`) of each label. */
export function winners(scores, count, [h, w], [H, W]) {
  const [y, x, cells] = [axis(h, H), axis(w, W), h * w];
  const total = logSumExp(scores, count, cells);
  const [labels, votes, probability] = [new Uint16Array(H * W), new Float64Array(count), new Float32Array(H * W)];
  const [rowsOf, columnsOf] = [spans(y.low, h), spans(x.low, w)];
  const able = new Int32Array(count);
  const [lefts, rights] = [new Float64Array(count + 1), new Float64Array(count + 1)]; // scores at both ends of a row in a cell; `total` last
  for (let cell = 0; cell < cells - w; cell++) {
    const [row, column] = [Math.floor(cell / w), cell % w];
    const n = candidates(scores, count, cells, cell, w, able);
    for (let Y = rowsOf[row]; Y < rowsOf[row + 1]; Y++) {
      for (let i = 0; i <= n; i++) {
        const map = i < n ? scores : total;
        const at = i < n ? able[i] * cells + cell : cell;
        lefts[i] = map[at] + y.weight[Y] * (map[at + w] - map[at]);
        rights[i] = map[at + 1] + y.weight[Y] * (map[at + w + 1] - map[at + 1]);
      }
      for (let X = columnsOf[column]; X < columnsOf[column + 1]; X++) {
        const across = x.weight[X];
        let best = -Infinity;
        let winner = 0;
        for (let i = 0; i < n; i++) {
          const score = lefts[i] + across * (rights[i] - lefts[i]);
          if (score <= best) continue;
          best = score;
          winner = able[i];
        }
        labels[X * H + Y] = winner;
        const sure = Math.exp(Math.min(0, best - lefts[n] - across * (rights[n] - lefts[n])));
        probability[X * H + Y] = sure;
        votes[winner] += sure;
      }
    }
  }
  return { labels, votes, probability };
}

/** Writes to `able` the labels that may win between a cell and its neighbours; returns their number. */
function candidates(scores, count, cells, cell, w, able) {
  let least = -Infinity;
  for (let at = cell; at < count * cells; at += cells) {
    least = Math.max(least, Math.min(scores[at], scores[at + 1], scores[at + w], scores[at + w + 1]));
  }
  let n = 0;
  for (let label = 0, at = cell; label < count; label++, at += cells) {
    if (Math.max(scores[at], scores[at + 1], scores[at + w], scores[at + w + 1]) >= least - SLACK) able[n++] = label;
  }
  return n;
}

/** Index of the first output in each cell: [cells + 1]; the last entry is the number of outputs. */
const spans = (low, cells) =>
  Int32Array.from({ length: cells + 1 }, (_, cell) => (low.findIndex((each) => each >= cell) + 1 || low.length + 1) - 1);

/** Log-sum-exp over labels: scores [count, cells] to [cells]. */
function logSumExp(scores, count, cells) {
  return Float32Array.from({ length: cells }, (_, cell) => {
    let [highest, sum] = [-Infinity, 0];
    for (let at = cell; at < count * cells; at += cells) highest = Math.max(highest, scores[at]);
    for (let at = cell; at < count * cells; at += cells) sum += Math.exp(scores[at] - highest);
    return highest + Math.log(sum);
  });
}

/** Mask [H * W] in column-major order: 1 where the upsampled logits [h, w] are at least 0. */
export function cut(logits, [h, w], [H, W]) {
  const [y, x] = [axis(h, H), axis(w, W)];
  const [mask, column] = [new Uint8Array(H * W), new Float32Array(h)];
  for (let X = 0; X < W; X++) {
    for (let row = 0, at = x.low[X]; row < h; row++, at += w) column[row] = logits[at] + x.weight[X] * (logits[at + 1] - logits[at]);
    for (let Y = 0; Y < H; Y++) {
      const low = y.low[Y];
      mask[X * H + Y] = column[low] + y.weight[Y] * (column[low + 1] - column[low]) >= 0 ? 1 : 0;
    }
  }
  return mask;
}
