// Masks as COCO run lengths: what they hold and share, their pixels, maps of many.

const MAX_SIDE = 1600; // cells of the longer side of a map, enough for a screen
const NUMBER = /[P-o]*[0-O]/g; // digits in base 32, the lowest first; all but the last have bit 32 set

// pycocotools' `counts`: numbers in base 32, six bits a character from "0" on, each from the fourth on as the difference to the last but one.
/** Spans of a mask: where its runs begin and end, alternately, column by column. */
export function spansOf({ counts }) {
  const runs = []; // lengths of alternating runs of 0 and 1, 0 first
  for (const [digits] of counts.matchAll(NUMBER)) {
    const bits = Array.from(digits, (digit) => digit.charCodeAt(0) - 48);
    const value = bits.reduceRight((sum, bit) => 32 * sum + (bit & 31), bits.at(-1) & 16 ? -1 : 0);
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  let end = 0;
  const borders = runs.map((length) => (end += length));
  return borders.slice(0, borders.length - (borders.length % 2)); // without the end of the background
}

/** Spans of what is not 0 in pixels [H * W] in column-major order. */
export function spansIn(pixels) {
  const spans = [];
  for (let i = 0, inside = 0; i < pixels.length; i++) if (Boolean(pixels[i]) !== Boolean(inside)) inside = spans.push(i) % 2;
  return spans.length % 2 ? [...spans, pixels.length] : spans;
}

/** Writes a number into every pixel of a mask; `pixels` [H * W] are in column-major order. */
export function paint(pixels, spans, number) {
  for (let i = 0; i < spans.length; i += 2) pixels.fill(number, spans[i], spans[i + 1]);
}

/** The pixels [H * W] of some masks, in column-major order: 1 inside. */
export function pixelsIn([height, width], masks) {
  const pixels = new Uint8Array(height * width);
  for (const mask of masks) paint(pixels, spansOf(mask), 1);
  return pixels;
}

export function holds({ mask: { counts, size: [height, width] } }, { x, y }) {
  const [column, row] = [[x, width], [y, height]].map(([place, side]) => Math.min(Math.floor(place), side - 1));
  return spansOf({ counts }).findIndex((border) => border > column * height + row) % 2 === 1;
}

/** Intersection over union of two segments. */
export function overlapOf(one, other) {
  const [[x, y, across, down], [left, top, wide, high]] = [one.bbox, other.bbox];
  if (x >= left + wide || left >= x + across || y >= top + high || top >= y + down) return 0;
  const [a, b] = [one, other].map(({ mask }) => spansOf(mask));
  let both = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length; a[i + 1] < b[j + 1] ? (i += 2) : (j += 2)) {
    both += Math.max(0, Math.min(a[i + 1], b[j + 1]) - Math.max(a[i], b[j]));
  }
  return both / (one.area + other.area - both);
}

/** `{cells, width, height, step}` of `layers` [number, mask], the last on top: the number at pixel (x * step, y * step) of each cell, by rows. */
export function mapOf(layers, [H, W], step = Math.ceil(Math.max(H, W) / MAX_SIDE)) {
  const pixels = new Uint16Array(H * W);
  for (const [number, mask] of layers) paint(pixels, spansOf(mask), number);
  const [height, width] = [Math.ceil(H / step), Math.ceil(W / step)];
  const cells = new Uint16Array(height * width);
  for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) cells[y * width + x] = pixels[x * step * H + y * step];
  return { cells, width, height, step };
}

export const pixelsOf = (mask) => mapOf([[1, mask]], mask.size, 1);
