// Resizes pictures as OpenCV does.

const EVEN = 1e-3; // smaller parts of a pixel are ignored, as in OpenCV's area interpolation
const FIXED = 2048; // 1 in OpenCV's fixed-point weights of bytes

export function halfToEven(value) {
  const whole = Math.floor(value);
  return value - whole === 0.5 ? whole + (whole % 2) : Math.round(value);
}

/** Coordinates [x, y, x, y, ...] scaled from a picture of size `from` [height, width] to size `to`. */
export function scaled(places, from, to) {
  return places.map((place, i) => (place * to[1 - (i % 2)]) / from[1 - (i % 2)]);
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
