// Web worker that paints: masks to a map of segments, the map to bitmaps of fills and outlines.

import { mapOf } from "./masks/runs.js";

const [OPAQUE, FAINT] = [0xff000000, 0x70000000]; // alpha of ABGR colours
const WIDE = 0.5; // share of a segment's longest run; its name is written in the middle one of the runs at least as wide
const MIN_NAMED = 0.002; // share of the picture; smaller segments get no name
const OUTLINES_PER_SIDE = 640; // an outline is as thick as the longer side divided by this
const port = /** @type {any} */ (self); // typed as a window, whose postMessage differs from a worker's

/** `layers` [number, mask] of segments in a picture of `size` [height, width], the last on top. */
port.onmessage = async ({ data: { turn, inks, layers, size } }) => {
  const map = mapOf(layers, size);
  const places = placesOfNames(map, inks.length);
  const [fills, lines] = await drawn(map, inks);
  port.postMessage({ turn, fills, lines, map: { ...map, places } }, [fills, lines]);
};

/** A pixel {x, y} in a wide part of each segment; null for segments too small to be named. */
function placesOfNames({ cells, width, height, step }, count) {
  const runs = Array.from({ length: count }, () => []); // {x, y, length} of cells in a row
  for (let y = 0; y < height; y++) {
    for (let x = 0, end = 0; x < width; x = end) {
      const number = cells[y * width + x];
      while (end < width && cells[y * width + end] === number) end++;
      if (number) runs[number - 1].push({ x: (x + end) / 2, y, length: end - x });
    }
  }
  return runs.map((some) => {
    const area = some.reduce((sum, { length }) => sum + length, 0);
    if (area < MIN_NAMED * cells.length) return null;
    const most = some.reduce((longest, { length }) => Math.max(longest, length), 0);
    const wide = some.filter(({ length }) => length >= WIDE * most);
    const { x, y } = wide[wide.length >> 1];
    return { x: x * step, y: (y + 0.5) * step };
  });
}

/** Bitmaps of fills and outlines. `inks[i]`: {colour (as #rrggbb), faint, pattern} of segment i, or null where it is hidden. */
function drawn({ cells, width, height }, inks) {
  const layers = [new ImageData(width, height), new ImageData(width, height)];
  const [fill, line] = layers.map(({ data }) => new Uint32Array(data.buffer));
  const words = inks.map((ink) => ink && [1, 0.9].map((factor) => wordOf(ink.colour, ink.faint ? FAINT : OPAQUE, factor)));
  const thick = Math.max(1, Math.round(Math.max(width, height) / OUTLINES_PER_SIDE));
  const below = thick * width;
  for (let place = 0; place < cells.length; place++) {
    const number = cells[place];
    if (!number || !inks[number - 1]) continue;
    fill[place] = words[number - 1][0];
    // A pixel is on the outline if another segment or the map's edge is at most `thick` pixels away.
    const isAtSide = cells[place - thick] !== number || cells[place + thick] !== number;
    const isLine = isAtSide || cells[place - below] !== number || cells[place + below] !== number;
    if (isLine || marked(inks[number - 1].pattern, place % width, Math.floor(place / width))) line[place] = words[number - 1][1];
  }
  return Promise.all(layers.map((layer) => createImageBitmap(layer)));
}

const marked = (pattern, x, y) => (pattern === 1 ? (x + y) % 12 < 2 : pattern === 2 && x % 9 < 3 && y % 9 < 3);

function wordOf(colour, alpha, factor) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16) * factor);
  return (alpha | (blue << 16) | (green << 8) | red) >>> 0;
}
