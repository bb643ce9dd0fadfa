// Exports segments in the formats of annotation tools, and writes zip files.

import { outlines } from "./masks/kernel.js";
import { mapOf, pixelsOf, spansOf } from "./masks/runs.js";
import { GRAY, INDEXED, packed, png } from "./pictures.js";

const MAX_PAIRS = 2 ** 22; // of corners that are compared; longer rings are joined at their first ones

/** COCO JSON. `pictures`: {name (of the file), size: [height, width], segments (the last on top)}; `names`: of the classes. */
export function coco(pictures, names) {
  const all = pictures.flatMap(({ segments }, picture) => segments.map((one) => ({ one, picture })));
  return JSON.stringify({
    images: pictures.map(({ name, size: [height, width] }, index) => ({ id: index + 1, file_name: name, height, width })),
    categories: names.map((each, index) => ({ id: index + 1, name: each })),
    annotations: all.map(({ one, picture }, index) => ({
      id: index + 1,
      image_id: picture + 1,
      category_id: names.indexOf(one.name) + 1,
      segmentation: { size: one.mask.size, counts: one.mask.counts },
      area: one.area,
      bbox: one.bbox,
      iscrowd: 0,
      score: one.score,
      ...(one.track_id != null && { track_id: one.track_id }),
    })),
  });
}

/** Ultralytics lines `CLASS x y x y ...`, coordinates relative to width and height. */
export function yolo({ segments, size: [height, width] }, names) {
  const share = ([x, y]) => `${(x / width).toFixed(6)} ${(y / height).toFixed(6)}`;
  return segments.map((one) => `${names.indexOf(one.name)} ${loopOf(one).map(share).join(" ")}\n`).join("");
}

/** Label Studio tasks with the segments as predictions. Blobs, so that browsers may keep them on disk. */
export function labelStudio(pictures) {
  const tasks = pictures.map(({ segments, size: [height, width], name, model }) => {
    const result = segments.map((one, index) => ({
      id: `segment-${index + 1}`,
      type: "polygonlabels",
      from_name: "label",
      to_name: "image",
      original_width: width,
      original_height: height,
      image_rotation: 0,
      score: one.score,
      value: { points: loopOf(one).map(([x, y]) => [(100 * x) / width, (100 * y) / height]), closed: true, polygonlabels: [one.name] },
    }));
    return new Blob([JSON.stringify({ data: { image: name }, predictions: [{ model_version: model, result }] })]);
  });
  return new Blob(["[", ...tasks.flatMap((task, index) => (index ? [",", task] : [task])), "]"]);
}

/** CVAT for images 1.1, with the labels of the task that datumaro asks for. */
export function cvat(pictures, names) {
  const images = pictures.map(({ segments, size: [height, width], name }, id) => {
    const masks = segments.map((one, order) => {
      const [left, top, across, down] = one.bbox;
      const attributes = { label: one.name, source: "auto", occluded: 0, z_order: order, rle: rowRuns(one).join(", "), left, top, width: across, height: down };
      return `    <mask${attributesOf(attributes)}/>\n`;
    });
    return new Blob([`  <image${attributesOf({ id, name, width, height })}>\n${masks.join("")}  </image>\n`]);
  });
  const labels = names.map((name) => `<label><name>${escaped(name)}</name></label>`).join("");
  const head = `<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta><task><labels>${labels}</labels></task></meta>\n`;
  return new Blob([head, ...images, "</annotations>\n"]);
}

/** GeoJSON with one feature for each segment, in pixels. */
export function geojson({ segments }) {
  return JSON.stringify({
    type: "FeatureCollection",
    features: segments.map((one, index) => ({
      type: "Feature",
      id: index + 1,
      geometry: { type: "MultiPolygon", coordinates: polygonsOf(one.mask).map((rings) => rings.map((ring) => [...ring, ring[0]])) },
      properties: { label: one.label, score: one.score, area: one.area },
    })),
  });
}

export const dataYaml = (names) =>
  `train: images\nval: images\nnames:\n${names.map((name, index) => `  ${index}: ${JSON.stringify(name)}\n`).join("")}`;

const escaped = (value) => String(value).replace(/[<>&"]/g, (one) => `&#${one.charCodeAt(0)};`);
const attributesOf = (attributes) => Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`).join("");

/** Run lengths of the mask inside its bounding box, row by row, starting with background. */
function rowRuns({ mask, bbox: [left, top, across, down] }) {
  const { cells, width } = pixelsOf(mask);
  const inside = Uint8Array.from({ length: across * down }, (_, i) => cells[(top + Math.floor(i / across)) * width + left + (i % across)]);
  const runs = [0];
  inside.forEach((each, i) => (each === (i && inside[i - 1]) ? (runs[runs.length - 1] += 1) : runs.push(1)));
  return runs;
}

const polygonsOf = (mask) => outlines(spansOf(mask), mask.size);

/** All rings joined into one polygon, by edges without area: short, for readers draw edges, too. As `labels/masks/polygons.joined_contour`. */
function loopOf({ mask }) {
  return polygonsOf(mask).flat().reduce((loop, ring) => {
    let [least, from, to] = [Infinity, 0, 0];
    const isQuick = loop.length * ring.length < MAX_PAIRS;
    for (let i = 0; isQuick && i < loop.length; i++) {
      for (let j = 0; j < ring.length; j++) {
        const square = (loop[i][0] - ring[j][0]) ** 2 + (loop[i][1] - ring[j][1]) ** 2;
        if (square < least) [least, from, to] = [square, i, j];
      }
    }
    return loop.length ? [...loop.slice(0, from + 1), ...ring.slice(to), ...ring.slice(0, to + 1), ...loop.slice(from)] : ring;
  }, []);
}

/** An indexed PNG with `numberOf(segment, index)` where a segment is on top, 0 elsewhere; above 255 16-bit gray. */
export function labelMap({ segments, size }, numberOf) {
  const layers = segments.map((one, index) => [numberOf(one, index), one.mask]);
  const { cells, ...sides } = mapOf(layers, size, 1);
  const isWide = layers.some(([number]) => number > 255);
  return isWide ? png(sides, GRAY, cells) : png(sides, INDEXED, Uint8Array.from(cells), [...Array(256).keys()].flatMap(vocColour));
}

/** Red, green and blue of a number in PASCAL VOC's palette: its bits, the lowest three first, as the highest of each. */
const vocColour = (index) => [0, 1, 2].map((channel) => [0, 1, 2].reduce((value, k) => value | (((index >> (3 * k + channel)) & 1) << (7 - k)), 0));

/** PASCAL VOC's list of labels, "background" first; a colon would end a label, # begin a comment. */
export const vocLabels = (labels) =>
  ["# label:color_rgb:parts:actions", ...labels.map((label, index) => `${label.replace(/[:#]/g, "_")}:${vocColour(index)}::`), ""].join("\n");

/** The same for datumaro and CVAT, with any labels. */
export const vocMeta = (labels) =>
  JSON.stringify({ labels, label_map: { ...labels }, segmentation_colors: labels.map((_, index) => vocColour(index)), background_label: labels[0] });

// gzip writes, after a header of ten bytes, what a zip needs: the deflated content, its CRC and its size.
/** A zip of `[name, content]`; the function `content` returns a text or a blob. One file is in memory at a time. */
export async function zip(files) {
  const [parts, central] = [[], []];
  const [shorts, longs] = [Uint16Array, Uint32Array].map((Kind) => (...values) => Kind.from(values)); // little-endian, as the format
  let offset = 0;
  for (const [name, content] of files) {
    const path = new TextEncoder().encode(name);
    const zipped = await packed(await content(), "gzip").blob();
    const deflated = zipped.slice(10, -8);
    const shared = [shorts(20, 0x0800, 8, 0, 0x21), zipped.slice(-8, -4), longs(deflated.size), zipped.slice(-4), shorts(path.length, 0)];
    const local = new Blob([longs(0x04034b50), ...shared, path, deflated]);
    parts.push(local);
    central.push(longs(0x02014b50), shorts(20), ...shared, shorts(0, 0, 0), longs(0, offset), path);
    offset += local.size;
  }
  const list = new Blob(central);
  const end = [longs(0x06054b50), shorts(0, 0, parts.length, parts.length), longs(list.size, offset), shorts(0)];
  return new Blob([...parts, list, ...end], { type: "application/zip" });
}
