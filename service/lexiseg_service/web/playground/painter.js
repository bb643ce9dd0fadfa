// The worker: masks to a map of segments, the map to fills and outlines. The page stays responsive meanwhile.

import { paint } from "./masks.js";

const [OPAQUE, FAINT] = [0xff000000, 0x70000000]; // alpha of ABGR words
const MAX_SIDE = 1600; // cells of the map's longer side; screens show no more
const WIDE = 0.5; // of a segment's longest run; a name is written in the middle of the rows that are as wide
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

/** Pixel {x, y} of each segment where it is wide; null for what is too small to be named. */
function placesOfNames(count) {
  const { width, height, step } = size;
  const widest = Array.from({ length: count }, () => []); // {x, y, length}: the longest run of each row
  const areas = new Uint32Array(count);
  for (let y = 0; y < height; y++) {
    for (let x = 0, end = 0; x < width; x = end) {
      const number = map[y * width + x];
      while (end < width && map[y * width + end] === number) end++;
      if (!number) continue;
      areas[number - 1] += end - x;
      const rows = widest[number - 1];
      if (rows.at(-1)?.y !== y) rows.push({ x: 0, y, length: 0 });
      if (end - x > rows.at(-1).length) Object.assign(rows.at(-1), { x: (x + end) / 2, length: end - x });
    }
  }
  return widest.map((rows, index) => {
    if (areas[index] < MIN_NAMED * map.length) return null;
    const most = rows.reduce((length, row) => Math.max(length, row.length), 0);
    const wide = rows.filter(({ length }) => length >= WIDE * most);
    const { x, y } = wide[wide.length >> 1];
    return { x: x * step, y: (y + 0.5) * step };
  });
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
