// The worker: masks to a map of segments, the map to fills and outlines. The page stays responsive meanwhile.

import { paint } from "./masks.js";

const [OPAQUE, FAINT] = [0xff000000, 0x70000000]; // alpha of ABGR words
const MAX_SIDE = 1600; // cells of the map's longer side; screens show no more
const MAX_NAME_SIDE = 400; // cells in which the places of names are looked for
const MIN_NAMED = 0.002; // share of the picture; a smaller segment gets its colour but no name
const OUTLINES_PER_SIDE = 640; // thickness of an outline is the longer side divided by this
const port = /** @type {any} */ (self); // of a worker, which has another postMessage than a window
const pen = /** @type {any} */ (new OffscreenCanvas(1, 1).getContext("2d")); // reads colours
let map = new Uint16Array(0); // the segment of each cell, from 1
let size = { width: 1, height: 1, step: 1 };

port.onmessage = ({ data }) => {
  if (data.kind === "segments") decode(data);
  else if (data.kind === "outline") outline(data);
  else draw(data);
};

function decode({ turn, width, height, segments }) {
  size = thinned(width, height);
  map = new Uint16Array(size.width * size.height);
  // The first on top, as in the service's own overlays.
  for (let index = segments.length; index > 0; index--) {
    paint(map, size.width, size.step, segments[index - 1].counts, height, index);
  }
  port.postMessage({ kind: "map", turn, map, places: placesOfNames(segments.length), ...size });
}

/** The size of the map of an image. */
function thinned(width, height) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / MAX_SIDE));
  return { width: Math.ceil(width / step), height: Math.ceil(height / step), step };
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

/** Fills and outlines of the map. `inks[i]`: {colour, faint, pattern} of segment i, or null where it is hidden. */
async function draw({ turn, inks }) {
  const { width, height } = size;
  const [fills, lines] = [new ImageData(width, height), new ImageData(width, height)];
  const [fill, line] = [fills, lines].map(({ data }) => new Uint32Array(data.buffer));
  const words = inks.map((ink) => ink && [1, 0.9].map((factor) => wordOf(ink.colour, ink.faint ? FAINT : OPAQUE, factor)));
  const thick = Math.max(1, Math.round(Math.max(width, height) / OUTLINES_PER_SIDE));
  for (let place = 0; place < map.length; place++) {
    const index = map[place] - 1;
    if (index < 0 || !inks[index]) continue;
    fill[place] = words[index][0];
    const isLine = isEdge(map, width, place, thick) || marked(inks[index].pattern, place % width, Math.floor(place / width));
    if (isLine) line[place] = words[index][1];
  }
  const [filled, lined] = await Promise.all([createImageBitmap(fills), createImageBitmap(lines)]);
  port.postMessage({ kind: "painted", turn, filled, lined }, [filled, lined]);
}

/** Whether a cell so far away, or what is beyond the map, is of another segment. */
function isEdge(cells, width, place, far) {
  return [place - far, place + far, place - far * width, place + far * width].some((other) => cells[other] !== cells[place]);
}

/** The border of one mask, dark inside light, `thick` pixels of the image each: no picture hides both. */
async function outline({ turn, width, height, mask, thick }) {
  const thin = thinned(width, height);
  const cells = new Uint8Array(thin.width * thin.height);
  paint(cells, thin.width, thin.step, mask.counts, height, 1);
  const pixels = new ImageData(thin.width, thin.height);
  const words = new Uint32Array(pixels.data.buffer);
  const far = Math.max(1, Math.round(thick / thin.step));
  cells.forEach((held, place) => {
    if (held && isEdge(cells, thin.width, place, far)) words[place] = 0xffffffff;
    else if (held && isEdge(cells, thin.width, place, 2 * far)) words[place] = 0xff000000;
  });
  const bitmap = await createImageBitmap(pixels);
  port.postMessage({ kind: "outline", turn, bitmap }, [bitmap]);
}

function marked(pattern, x, y) {
  if (pattern === 1) return (x + y) % 12 < 2;
  return pattern === 2 && x % 9 < 3 && y % 9 < 3;
}

/** A colour as an ABGR word. */
function wordOf(colour, alpha, factor) {
  pen.fillStyle = colour;
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(pen.fillStyle.slice(start, start + 2), 16) * factor);
  return (alpha | (blue << 16) | (green << 8) | red) >>> 0;
}
