// Masks in COCO's compressed run lengths, and maps of segments drawn from them.

const MAX_SIDE = 1600; // cells of the longer side of a map; screens show no more
const NUMBER = /[P-o]*[0-O]/g; // digits in base 32, the lowest first; all but the last have bit 32 set

/**
 * The lengths of runs of 0 and 1 in turn, 0 first, column by column.
 *
 * pycocotools' `counts`: numbers in base 32, six bits a character from "0" on, each from the fourth on as the difference
 * to the last but one.
 */
function runsOf(counts) {
  const runs = [];
  for (const [digits] of counts.matchAll(NUMBER)) {
    const bits = Array.from(digits, (digit) => digit.charCodeAt(0) - 48);
    const value = bits.reduceRight((sum, bit) => 32 * sum + (bit & 31), bits.at(-1) & 16 ? -1 : 0);
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  return runs;
}

/** Writes a number into every pixel of a mask, in pixels [H * W] that run down the columns. */
export function paint(pixels, { counts }, number) {
  let end = 0;
  runsOf(counts).forEach((length, index) => {
    if (index % 2) pixels.fill(number, end, end + length);
    end += length;
  });
}

/**
 * `{cells, width, height, step}`: the mask of each cell, from 1, row by row; the first mask is on top. A cell (x, y) is the
 * pixel (x * step, y * step).
 *
 * @param {any[]} masks of one size
 */
export function mapOf(masks, [H, W], step = Math.ceil(Math.max(H, W) / MAX_SIDE)) {
  const pixels = new Uint16Array(H * W);
  for (let number = masks.length; number > 0; number--) paint(pixels, masks[number - 1], number);
  const [height, width] = [Math.ceil(H / step), Math.ceil(W / step)];
  const cells = new Uint16Array(height * width);
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) cells[y * width + x] = pixels[x * step * H + y * step];
  }
  return { cells, width, height, step };
}

/** The map of one mask, with a cell for each pixel. */
export const pixelsOf = (mask) => mapOf([mask], mask.size, 1);
