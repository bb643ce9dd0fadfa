// The worker: masks to a map of segments, the map to a picture. The page stays free meanwhile, whatever the image's size.

import { colourOf, patternOf } from "/playground/colours.js";
import { paint } from "/playground/rle.js";

const [OPAQUE, FAINT] = [0xff000000, 0x70000000];
const LARGEST = 2048; // cells of the map's longer side; screens show no more
let map = new Uint16Array(0);
let size = { width: 0, height: 0, step: 1 };

self.onmessage = ({ data }) => {
  if (data.kind === "segments") decode(data);
  else if (data.kind === "outline") outline(data);
  else draw(data);
};

function decode({ turn, width, height, segments }) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / LARGEST));
  size = { width: Math.ceil(width / step), height: Math.ceil(height / step), step };
  map = new Uint16Array(size.width * size.height);
  // The first on top, as in the service's own overlays.
  for (let index = segments.length; index > 0; index--) {
    paint(map, size.width, step, segments[index - 1].counts, height, index);
  }
  self.postMessage({ kind: "map", turn, map, ...size });
}

/** `shown[i]`: the colour's number of segment i, or -1 where it is hidden; `faint[i]`: whether it is doubtful. */
function draw({ turn, shown, faint = [] }) {
  const pixels = new ImageData(size.width || 1, size.height || 1);
  const words = new Uint32Array(pixels.data.buffer);
  const colours = shown.map((number, index) =>
    number < 0 ? null : [...both(number, faint[index] ? FAINT : OPAQUE), patternOf(number)],
  );
  const { width } = size;
  for (let place = 0; place < map.length; place++) {
    const colour = map[place] && colours[map[place] - 1];
    if (!colour) continue;
    const x = place % width;
    const y = (place - x) / width;
    const edge = map[place - 1] !== map[place] || map[place - width] !== map[place];
    words[place] = edge || marked(colour[2], x, y) ? colour[1] : colour[0];
  }
  createImageBitmap(pixels).then((bitmap) => self.postMessage({ kind: "painted", turn, bitmap }, [bitmap]));
}

/** The border of one mask, dark inside light, `thick` pixels of the image each: no picture hides both. */
function outline({ turn, width, height, mask, thick }) {
  const step = Math.max(1, Math.ceil(Math.max(width, height) / LARGEST));
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
  createImageBitmap(pixels).then((bitmap) => self.postMessage({ turn, bitmap }, [bitmap]));
}

function marked(pattern, x, y) {
  if (pattern === 1) return (x + y) % 12 < 2;
  return pattern === 2 && x % 9 < 3 && y % 9 < 3;
}

/** A colour and a darker one for edges, as ABGR words. */
function both(number, alpha) {
  const [red, green, blue] = colourOf(number);
  const word = (factor) =>
    (alpha | ((blue * factor) << 16) | ((green * factor) << 8) | (red * factor)) >>> 0;
  return [word(1), word(0.55)];
}
