// The worker: masks to a map of segments, the map to fills and outlines. The page stays responsive meanwhile.

import { colourOf, paint, patternOf } from "./masks.js";

const [OPAQUE, FAINT] = [0xff000000, 0x70000000]; // alpha of ABGR words
const MAX_SIDE = 1600; // cells of the map's longer side; screens show no more
const MAX_NAME_SIDE = 400; // cells in which the places of names are looked for
const MIN_NAMED = 0.002; // share of the picture; a smaller segment gets its colour but no name
const OUTLINES_PER_SIDE = 640; // thickness of an outline is the longer side divided by this
const port = /** @type {any} */ (self); // of a worker, which has another postMessage than a window
let map = new Uint16Array(0);
let size = { width: 0, height: 0, step: 1 };

port.onmessage = ({ data }) => {
  if (data.kind === "segments") decode(data);
  else if (data.kind === "outline") outline(data);
  else draw(data);
};

function decode({ turn, width, height, segments }) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / MAX_SIDE));
  size = { width: Math.ceil(width / step), height: Math.ceil(height / step), step };
  map = new Uint16Array(size.width * size.height);
  // The first on top, as in the service's own overlays.
  for (let index = segments.length; index > 0; index--) {
    paint(map, size.width, step, segments[index - 1].counts, height, index);
  }
  port.postMessage({ kind: "map", turn, map, places: placesOfNames(segments.length), ...size });
}

/** Pixel {x, y} of each segment that is farthest from any other segment; null for what is too small to be named. */
function placesOfNames(count) {
  const thin = Math.max(1, Math.ceil(Math.max(size.width, size.height) / MAX_NAME_SIDE));
  const [columns, rows] = [Math.ceil(size.width / thin), Math.ceil(size.height / thin)];
  const cells = new Uint16Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) cells[y * columns + x] = map[y * thin * size.width + x * thin];
  }
  const depth = depths(cells, columns);
  const best = Array.from({ length: count }, () => ({ place: -1, depth: 0, area: 0 }));
  cells.forEach((number, place) => {
    if (!number) return;
    const one = best[number - 1];
    one.area += 1;
    if (depth[place] > one.depth) Object.assign(one, { place, depth: depth[place] });
  });
  const pixel = (cell) => (cell + 0.5) * thin * size.step;
  return best.map(({ place, area }) =>
    place < 0 || area < MIN_NAMED * cells.length ? null : { x: pixel(place % columns), y: pixel(Math.floor(place / columns)) },
  );
}

/** City-block distance of each cell to the nearest of another segment or the picture's edge: two passes. */
function depths(cells, columns) {
  const depth = new Uint16Array(cells.length);
  const near = (place, other, inside) => (inside && cells[other] === cells[place] ? depth[other] : 0);
  for (let place = 0; place < cells.length; place++) {
    const x = place % columns;
    depth[place] = 1 + Math.min(near(place, place - 1, x > 0), near(place, place - columns, place >= columns));
  }
  for (let place = cells.length - 1; place >= 0; place--) {
    const x = place % columns;
    const right = near(place, place + 1, x < columns - 1);
    const below = near(place, place + columns, place < cells.length - columns);
    depth[place] = Math.min(depth[place], 1 + Math.min(right, below));
  }
  return depth;
}

/**
 * Fills and outlines of the map.
 *
 * `shown[i]`: the colour's number of segment i, or -1 where it is hidden; `faint[i]`: whether it is doubtful;
 * `patterns`: whether stripes and dots tell colours apart, too.
 */
async function draw({ turn, shown, faint = [], patterns = false }) {
  const { width } = size;
  const fills = new ImageData(size.width || 1, size.height || 1);
  const lines = new ImageData(size.width || 1, size.height || 1);
  const fill = new Uint32Array(fills.data.buffer);
  const line = new Uint32Array(lines.data.buffer);
  const colours = shown.map((number, index) => inkOf(number, faint[index] ? FAINT : OPAQUE, patterns));
  const thick = Math.max(1, Math.round(Math.max(size.width, size.height) / OUTLINES_PER_SIDE));
  for (let place = 0; place < map.length; place++) {
    const number = map[place];
    const colour = number && colours[number - 1];
    if (!colour) continue;
    fill[place] = colour.word;
    if (isEdge(place, thick) || marked(colour.pattern, place % width, Math.floor(place / width))) line[place] = colour.line;
  }
  const [filled, lined] = await Promise.all([createImageBitmap(fills), createImageBitmap(lines)]);
  port.postMessage({ kind: "painted", turn, filled, lined }, [filled, lined]);
}

/** How a segment is drawn; null where it is hidden. */
function inkOf(number, alpha, patterns) {
  return number < 0 ? null : { word: wordOf(number, alpha), line: wordOf(number, alpha, 0.9), pattern: patterns ? patternOf(number) : 0 };
}

/** Whether a cell of another segment is `thick` cells away. */
function isEdge(place, thick) {
  const down = thick * size.width;
  return [place - thick, place + thick, place - down, place + down].some((other) => map[other] !== map[place]);
}

/** The border of one mask, dark inside light, `thick` pixels of the image each: no picture hides both. */
function outline({ turn, width, height, mask, thick }) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / MAX_SIDE));
  const [columns, rows] = [Math.ceil(width / step), Math.ceil(height / step)];
  const cells = new Uint8Array(columns * rows);
  paint(cells, columns, step, mask.counts, height, 1);
  const pixels = new ImageData(columns, rows);
  const words = new Uint32Array(pixels.data.buffer);
  const far = Math.max(1, Math.round(thick / step));
  const out = (x, y) => x < 0 || y < 0 || x >= columns || y >= rows || !cells[y * columns + x];
  const within = (x, y, away) => out(x - away, y) || out(x + away, y) || out(x, y - away) || out(x, y + away);
  for (let place = 0; place < cells.length; place++) {
    if (!cells[place]) continue;
    const x = place % columns;
    const y = (place - x) / columns;
    if (within(x, y, far)) words[place] = 0xffffffff;
    else if (within(x, y, 2 * far)) words[place] = 0xff000000;
  }
  createImageBitmap(pixels).then((bitmap) => port.postMessage({ kind: "outline", turn, bitmap }, [bitmap]));
}

function marked(pattern, x, y) {
  if (pattern === 1) return (x + y) % 12 < 2;
  return pattern === 2 && x % 9 < 3 && y % 9 < 3;
}

/** A colour as an ABGR word. */
function wordOf(number, alpha, factor = 1) {
  const [red, green, blue] = colourOf(number);
  return (alpha | ((blue * factor) << 16) | ((green * factor) << 8) | (red * factor)) >>> 0;
}
