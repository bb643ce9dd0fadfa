// PASCAL VOC's layout: palette PNG files of classes and of objects, XML of boxes, and lists.

import { BACKGROUND, numbersOf } from "./label-maps.js";
import { INDEXED, png } from "./png.js";
import { distinct, escaped } from "./set.js";

const MAX_VALUE = 254; // of a class or an object: 255 is void

/** Red, green and blue of a number: its bits, the lowest three first, as the highest of each. */
const colourOf = (index) => [0, 1, 2].map((channel) => [0, 1, 2].reduce((value, k) => value | (((index >> (3 * k + channel)) & 1) << (7 - k)), 0));
const PALETTE = [...Array(256).keys()].flatMap(colourOf);

export function* voc({ pictures, classes, categories }) {
  if (classes.length >= MAX_VALUE) return; // one number is left for segments without a label
  const labels = distinct([BACKGROUND, ...categories]);
  for (const picture of pictures) {
    const map = (numberOf) => {
      const { cells, ...size } = numbersOf(picture, numberOf);
      return png(size, INDEXED, Uint8Array.from(cells), PALETTE);
    };
    yield [`voc/SegmentationClass/${picture.base}.png`, () => map(({ category }) => category + 1)];
    if (picture.segments.length <= MAX_VALUE) yield [`voc/SegmentationObject/${picture.base}.png`, () => map(({ id }) => id)];
    yield [`voc/Annotations/${picture.base}.xml`, () => boxesOf(picture, labels)];
  }
  yield* ["Main", "Segmentation"].map((kind) => [`voc/ImageSets/${kind}/train.txt`, () => pictures.map(({ base }) => `${base}\n`).join("")]);
  const plain = distinct(labels.map((label) => label.replace(/[:#]/g, "_")));
  const rows = plain.map((label, index) => `${label}:${colourOf(index)}::\n`);
  yield ["voc/labelmap.txt", () => ["# label:color_rgb:parts:actions\n", ...rows].join("")];
  const meta = { labels, label_map: { ...labels }, segmentation_colors: labels.map((_, index) => colourOf(index)), background_label: BACKGROUND };
  yield ["voc/dataset_meta.json", () => JSON.stringify(meta)];
}

function boxesOf({ name, segments, size: [height, width] }, labels) {
  const tag = (key, value) => `<${key}>${escaped(value)}</${key}>`;
  const objects = segments.map(({ category, bbox: [x, y, across, down] }) => {
    const box = { xmin: x + 1, ymin: y + 1, xmax: x + across, ymax: y + down }; // VOC counts pixels from 1
    const lines = [tag("name", labels[category + 1]), tag("truncated", 0), tag("difficult", 0), "<bndbox>"].map((line) => `    ${line}\n`);
    const sides = Object.entries(box).map(([key, value]) => `      ${tag(key, value)}\n`);
    return `  <object>\n${lines.join("")}${sides.join("")}    </bndbox>\n  </object>\n`;
  });
  const sizes = Object.entries({ width, height, depth: 3 }).map(([key, value]) => `    ${tag(key, value)}\n`);
  const text = `<annotation>\n  ${tag("filename", name)}\n  <size>\n${sizes.join("")}  </size>\n  ${tag("segmented", 1)}\n${objects.join("")}</annotation>\n`;
  return text.replace(/[^\x00-\x7f]/gu, (one) => `&#${one.codePointAt(0)};`); // eslint-disable-line no-control-regex
}
