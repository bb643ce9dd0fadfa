// COCO's compressed run lengths.

const MAX_SIDE = 1600; // cells of the longer side of a map; screens show no more

/**
 * The lengths of runs of 0 and 1 in turn, 0 first, column by column.
 *
 * pycocotools' `counts`: numbers in base 32, six bits a character from "0" on, each from the fourth on as the difference
 * to the last but one.
 */
export function runsOf(counts) {
  const runs = [];
  let place = 0;
  while (place < counts.length) {
    let value = 0;
    let shift = 0;
    let bits;
    do {
      bits = counts.charCodeAt(place++) - 48;
      value += (bits & 31) * 2 ** shift;
      shift += 5;
    } while (bits & 32);
    if (bits & 16) value -= 2 ** shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/**
 * Writes a number into every cell of a map that the mask holds.
 *
 * The map is the image thinned by `step`: cell (x, y) is the pixel (x * step, y * step); it lies row by row.
 */
export function paint(cells, { width, step }, { size: [height], counts }, number) {
  const rows = Math.ceil(height / step);
  let begin = 0;
  runsOf(counts).forEach((length, index) => {
    const end = begin + length;
    if (index % 2) {
      for (let column = Math.ceil(Math.floor(begin / height) / step) * step; column * height < end; column += step) {
        const top = Math.max(0, begin - column * height);
        const bottom = Math.min(height, end - column * height);
        const x = column / step;
        for (let y = Math.ceil(top / step); y < rows && y * step < bottom; y++) cells[y * width + x] = number;
      }
    }
    begin = end;
  });
}

/** The size of the map of an image; `step`: pixels of the image from cell to cell. */
export function thinned([height, width]) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / MAX_SIDE));
  return { width: Math.ceil(width / step), height: Math.ceil(height / step), step };
}

/** Cells [height * width] of a map that are 1 where the mask is: those of its pixels, or of a thinner one. */
export function cellsOf(mask, map = { width: mask.size[1], height: mask.size[0], step: 1 }) {
  const cells = new Uint8Array(map.width * map.height);
  paint(cells, map, mask, 1);
  return cells;
}
