// COCO's compressed run lengths.

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
export function paint(map, width, step, counts, height, number) {
  const rows = Math.ceil(height / step);
  let begin = 0;
  runsOf(counts).forEach((length, index) => {
    const end = begin + length;
    if (index % 2) {
      for (let column = Math.ceil(Math.floor(begin / height) / step) * step; column * height < end; column += step) {
        const top = Math.max(0, begin - column * height);
        const bottom = Math.min(height, end - column * height);
        const x = column / step;
        for (let y = Math.ceil(top / step); y < rows && y * step < bottom; y++) map[y * width + x] = number;
      }
    }
    begin = end;
  });
}

/** Every pixel's 1 or 0, row by row. */
export function cellsOf({ size: [height, width], counts }) {
  const cells = new Uint8Array(width * height);
  paint(cells, width, 1, counts, height, 1);
  return cells;
}
