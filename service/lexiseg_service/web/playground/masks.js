// COCO run lengths to pixels and back; maps of segments, their connected components and polygons.

const MAX_SIDE = 1600; // cells of the longer side of a map, enough for a screen
const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up
const NUMBER = /[P-o]*[0-O]/g; // digits in base 32, the lowest first; all but the last have bit 32 set

// pycocotools' `counts`: numbers in base 32, six bits a character from "0" on, each from the fourth on as the difference to the last but one.
/** Lengths of alternating runs of 0 and 1, 0 first, column by column. */
function runsOf(counts) {
  const runs = [];
  for (const [digits] of counts.matchAll(NUMBER)) {
    const bits = Array.from(digits, (digit) => digit.charCodeAt(0) - 48);
    const value = bits.reduceRight((sum, bit) => 32 * sum + (bit & 31), bits.at(-1) & 16 ? -1 : 0);
    runs.push(runs.length > 2 ? value + runs.at(-2) : value);
  }
  return runs;
}

/** Writes a number into every pixel of a mask; `pixels` [H * W] are in column-major order. */
function paint(pixels, { counts }, number) {
  let end = 0;
  runsOf(counts).forEach((length, index) => {
    if (index % 2) pixels.fill(number, end, end + length);
    end += length;
  });
}

/** The pixels [H * W] of some masks, in column-major order: 1 inside. */
export function pixelsIn([height, width], masks) {
  const pixels = new Uint8Array(height * width);
  for (const mask of masks) paint(pixels, mask, 1);
  return pixels;
}

/** `{mask, area, bbox}` of every label below `count` in a column-major map; `mask` is a COCO RLE. */
export function encoded(labels, count, [height, width]) {
  const masks = Array.from({ length: count }, () => ({ runs: [], end: 0, area: 0, box: [width, height, 0, 0] }));
  for (let begin = 0, end = 0; begin < labels.length; begin = end) {
    const label = labels[begin];
    while (end < labels.length && labels[end] === label) end++;
    if (label >= count) continue;
    const one = masks[label];
    one.runs.push(begin - one.end, end - begin);
    one.end = end;
    one.area += end - begin;
    const [x0, x1] = [Math.floor(begin / height), Math.floor((end - 1) / height)];
    const [y0, y1] = x0 === x1 ? [begin - x0 * height, end - x0 * height] : [0, height];
    one.box = [Math.min(one.box[0], x0), Math.min(one.box[1], y0), Math.max(one.box[2], x1 + 1), Math.max(one.box[3], y1)];
  }
  return masks.map(({ runs, end, area, box: [x0, y0, x1, y1] }) => {
    if (end < labels.length) runs.push(labels.length - end);
    return { mask: { size: [height, width], counts: countsOf(runs) }, area, bbox: area ? [x0, y0, x1 - x0, y1 - y0] : [0, 0, 0, 0] };
  });
}

/** Run lengths as COCO's compressed text, which `runsOf` decodes. */
function countsOf(runs) {
  let text = "";
  runs.forEach((run, index) => {
    let value = index > 2 ? run - runs[index - 2] : run;
    for (let more = true; more; ) {
      const bits = value & 31;
      value >>= 5;
      more = bits & 16 ? value !== -1 : value !== 0;
      text += String.fromCharCode((more ? bits | 32 : bits) + 48);
    }
  });
  return text;
}

/** Whether a mask holds the pixel at a point. */
export function holds({ mask: { counts, size: [height, width] } }, { x, y }) {
  const [column, row] = [[x, width], [y, height]].map(([place, side]) => Math.min(Math.floor(place), side - 1));
  let end = 0;
  return runsOf(counts).findIndex((length) => (end += length) > column * height + row) % 2 === 1;
}

/** Intersection over union of two segments. */
export function overlapOf(one, other) {
  const [[x, y, across, down], [left, top, wide, high]] = [one.bbox, other.bbox];
  if (x >= left + wide || left >= x + across || y >= top + high || top >= y + down) return 0;
  const [a, b] = [one, other].map(({ mask }) => runsOf(mask.counts));
  let [i, j, endOfA, endOfB, at, both] = [0, 0, a[0], b[0], 0, 0];
  while (i < a.length && j < b.length) {
    const end = Math.min(endOfA, endOfB);
    if (i % 2 && j % 2) both += end - at;
    at = end;
    if (endOfA === end) endOfA += a[++i];
    if (endOfB === end) endOfB += b[++j];
  }
  return both / (one.area + other.area - both);
}

/** A segment without the pixels of others; as it is where it has none of them. */
export function without(one, others) {
  const above = others.filter((other) => overlapOf(one, other));
  if (!above.length) return one;
  const pixels = pixelsIn(one.mask.size, [one.mask]);
  for (const { mask } of above) paint(pixels, mask, 0);
  return { ...one, ...encoded(pixels, 2, one.mask.size)[1], prompt: undefined };
}

/** `{mask, area, bbox}` of the pixels that a round brush on its way along points covers. */
export function stroked([H, W], { points, radius }) {
  const pixels = new Uint8Array(H * W);
  const within = (place, most) => Math.min(Math.max(place, 0), most);
  points.forEach((to, index) => {
    const from = points[Math.max(0, index - 1)];
    const [across, down] = [to.x - from.x, to.y - from.y];
    const [xs, ys] = [[from.x, to.x, W], [from.y, to.y, H]].map(([a, b, side]) => [
      Math.floor(within(Math.min(a, b) - radius, side)),
      Math.ceil(within(Math.max(a, b) + radius, side)),
    ]);
    for (let x = xs[0]; x < xs[1]; x++) {
      for (let y = ys[0]; y < ys[1]; y++) {
        const [right, below] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const share = within((right * across + below * down) / (across * across + down * down || 1), 1);
        if (Math.hypot(right - share * across, below - share * down) <= radius) pixels[x * H + y] = 1;
      }
    }
  });
  return encoded(pixels, 2, [H, W])[1];
}

/** `{cells, width, height, step}` of `layers` [number, mask], the last on top: the number at pixel (x * step, y * step) of each cell, by rows. */
export function mapOf(layers, [H, W], step = Math.ceil(Math.max(H, W) / MAX_SIDE)) {
  const pixels = new Uint16Array(H * W);
  for (const [number, mask] of layers) paint(pixels, mask, number);
  const [height, width] = [Math.ceil(H / step), Math.ceil(W / step)];
  const cells = new Uint16Array(height * width);
  for (let x = 0; x < width; x++) for (let y = 0; y < height; y++) cells[y * width + x] = pixels[x * step * H + y * step];
  return { cells, width, height, step };
}

/** The map of one mask, one cell for each pixel. */
export const pixelsOf = (mask) => mapOf([[1, mask]], mask.size, 1);

/** 4-connected components of equal labels: `ids` of each cell, `owner` (the label) and `areas` of each part, by their first cells. */
export function parts(labels, width) {
  const [ids, queue] = [new Int32Array(labels.length).fill(-1), new Int32Array(labels.length)];
  const [owner, areas] = [[], []];
  let end = 0;
  const take = (cell, id) => {
    if (ids[cell] >= 0 || labels[cell] !== owner[id]) return;
    ids[cell] = id;
    queue[end++] = cell;
  };
  for (let start = 0; start < labels.length; start++) {
    if (ids[start] >= 0) continue;
    const id = owner.push(labels[start]) - 1;
    const begin = end;
    take(start, id);
    for (let read = begin; read < end; read++) {
      const cell = queue[read];
      if (cell % width > 0) take(cell - 1, id);
      if (cell % width < width - 1) take(cell + 1, id);
      if (cell >= width) take(cell - width, id);
      if (cell + width < labels.length) take(cell + width, id);
    }
    areas.push(end - begin);
  }
  return { ids, owner, areas };
}

/** [[exterior, ...holes], ...] of a map of one mask, for each 4-connected part; a ring of pixel corners [x, y] runs clockwise around what is inside. */
export function polygonsOf({ cells, height, width }) {
  const { ids } = parts(cells, width);
  const sides = new Uint8Array((width + 1) * (height + 1)); // for each corner a bit mask of the directions in which a border leaves it
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && cells[y * width + x];
  const leave = (x, y, direction) => (sides[y * (width + 1) + x] |= 1 << direction);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) leave(x, y, 0);
      if (!inside(x + 1, y)) leave(x + 1, y, 1);
      if (!inside(x, y + 1)) leave(x + 1, y + 1, 2);
      if (!inside(x - 1, y)) leave(x, y + 1, 3);
    }
  }
  const polygons = []; // by parts
  for (let start = 0; start < sides.length; start++) {
    if (!sides[start]) continue;
    // The uppermost corner of an exterior is that of its pixel; that of a hole has the pixel on its left.
    const isExterior = sides[start] & 1;
    const pixel = start - Math.floor(start / (width + 1)) - (isExterior ? 0 : 1);
    (polygons[ids[pixel]] ??= []).push(walk(sides, width + 1, start));
  }
  return Object.values(polygons);
}

/** Traces one ring from a corner, and removes its sides. */
function walk(sides, columns, start) {
  const ring = [];
  let place = start;
  let before = -1;
  do {
    const turns = before < 0 ? [0, 1] : [(before + 1) % 4, before, (before + 3) % 4]; // right turns first: they stay at the same pixel
    const direction = turns.find((each) => sides[place] & (1 << each));
    if (direction !== before) ring.push([place % columns, Math.floor(place / columns)]);
    sides[place] &= ~(1 << direction);
    place += STEPS[direction][0] + columns * STEPS[direction][1];
    before = direction;
  } while (place !== start);
  return ring;
}
