// CVAT for images 1.1, with the labels of the task that datumaro asks for.

import { attributesOf, escaped } from "./set.js";
import { pixelsOf } from "../masks/runs.js";

export function* cvat({ pictures, categories }) {
  yield ["cvat.xml", () => {
    const labels = categories.map((name) => `<label><name>${escaped(name)}</name></label>`).join("");
    const head = `<?xml version='1.0' encoding='utf-8'?>\n<annotations>\n  <version>1.1</version>\n  <meta><task><labels>${labels}</labels></task></meta>\n`;
    return new Blob([head, ...pictures.map((picture, id) => new Blob([imageOf(picture, id)])), "</annotations>\n"]); // browsers may keep them on disk
  }];
}

function imageOf({ segments, size: [height, width], name }, id) {
  const masks = segments.map((one) => {
    const [left, top, across, down] = one.bbox;
    const attributes = { label: one.name, source: "auto", occluded: 0, z_order: 0, rle: rowRuns(one).join(", "), left, top, width: across, height: down };
    return `    <mask${attributesOf(attributes)} />\n`;
  });
  const begin = `  <image${attributesOf({ id, name, width, height })}`;
  return masks.length ? `${begin}>\n${masks.join("")}  </image>\n` : `${begin} />\n`;
}

/** Run lengths of the mask inside its bounding box, row by row, starting with background. */
function rowRuns({ mask, bbox: [left, top, across, down] }) {
  const { cells, width } = pixelsOf(mask);
  const inside = Uint8Array.from({ length: across * down }, (_, i) => cells[(top + Math.floor(i / across)) * width + left + (i % across)]);
  const runs = [0];
  inside.forEach((each, i) => (each === (i && inside[i - 1]) ? (runs[runs.length - 1] += 1) : runs.push(1)));
  return runs;
}
