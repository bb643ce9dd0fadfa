// Label Studio tasks with the segments as predictions, as brushes: run lengths of the mask's RGBA bytes, packed as bits.

import { jsonList, rounded } from "./set.js";
import { pixelsOf } from "../masks/runs.js";

const WIDTHS = [3, 4, 8, 16]; // bits of a run length
const LOCAL_FILES = "/data/local-files/?d="; // from where Label Studio serves files of its own machine
const quoted = (path) => encodeURIComponent(path).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`).replaceAll("%2F", "/");

export function* labelStudio({ pictures }) {
  yield ["label-studio.json", () => jsonList(pictures.map(taskOf))];
}

function taskOf({ segments, size: [height, width], name, model }) {
  const result = segments.map((one) => ({
    id: `segment-${one.id}`,
    type: "brushlabels",
    from_name: "label",
    to_name: "image",
    original_width: width,
    original_height: height,
    image_rotation: 0,
    score: rounded(one.score),
    value: { format: "rle", rle: brushOf(one.mask), brushlabels: [one.name] },
  }));
  const score = result.length ? rounded(result.reduce((sum, one) => sum + one.score, 0) / result.length) : 0;
  return { data: { image: LOCAL_FILES + quoted(name) }, predictions: [{ model_version: model, score, result }] };
}

function brushOf(mask) {
  const { cells } = pixelsOf(mask);
  const bytes = [];
  let [byte, free] = [0, 8];
  const put = (value, bits) => {
    for (let bit = bits - 1; bit >= 0; bit--) {
      byte |= (Math.floor(value / 2 ** bit) & 1) << (free -= 1);
      if (free === 0) [byte, free] = [bytes.push(byte) && 0, 8];
    }
  };
  put(4 * cells.length, 32);
  put(8 - 1, 5); // bits of a word
  for (const width of WIDTHS) put(width - 1, 4);
  for (let begin = 0, end = 0; begin < cells.length; begin = end) {
    while (end < cells.length && cells[end] === cells[begin]) end++;
    for (let left = 4 * (end - begin); left > 0; ) {
      const run = Math.min(left, 2 ** WIDTHS.at(-1));
      const index = WIDTHS.findIndex((width) => run <= 2 ** width);
      put(1, 1);
      put(index, 2);
      put(run - 1, WIDTHS[index]);
      put(cells[begin] ? 255 : 0, 8);
      left -= run;
    }
  }
  return free < 8 ? [...bytes, byte] : bytes;
}
