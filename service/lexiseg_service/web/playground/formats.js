// Exports segments in the formats of annotation tools, and writes zip files.

import { pixelsOf, polygonsOf } from "./masks.js";

const UNNAMED = "object";

/** COCO JSON. `pictures`: {name (of the file), size: [height, width], segments}; `names`: of the classes. */
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
      value: { points: loopOf(one).map(([x, y]) => [(100 * x) / width, (100 * y) / height]), closed: true, polygonlabels: [one.label ?? UNNAMED] },
    }));
    return new Blob([JSON.stringify({ data: { image: name }, predictions: [{ model_version: model, result }] })]);
  });
  return new Blob(["[", ...tasks.flatMap((task, index) => (index ? [",", task] : [task])), "]"]);
}

/** CVAT for images 1.1. */
export function cvat(pictures) {
  const images = pictures.map(({ segments, size: [height, width], name }, id) => {
    const masks = segments.map((one) => {
      const [left, top, across, down] = one.bbox;
      const attributes = { label: one.label ?? UNNAMED, source: "auto", occluded: 0, z_order: 0, rle: rowRuns(one).join(", "), left, top, width: across, height: down };
      return `    <mask${attributesOf(attributes)}/>\n`;
    });
    return new Blob([`  <image${attributesOf({ id, name, width, height })}>\n${masks.join("")}  </image>\n`]);
  });
  return new Blob(['<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n', ...images, "</annotations>\n"]);
}

/** GeoJSON with one feature for each segment, in pixels. */
export function geojson({ segments }) {
  return JSON.stringify({
    type: "FeatureCollection",
    features: segments.map((one, index) => ({
      type: "Feature",
      id: index + 1,
      geometry: { type: "MultiPolygon", coordinates: polygonsOf(pixelsOf(one.mask)).map((rings) => rings.map((ring) => [...ring, ring[0]])) },
      properties: { label: one.label, score: one.score, area: one.area },
    })),
  });
}

export const dataYaml = (names) =>
  `train: images\nval: images\nnames:\n${names.map((name, index) => `  ${index}: ${JSON.stringify(name)}\n`).join("")}`;

function attributesOf(attributes) {
  const escaped = (value) => String(value).replace(/[<>&"]/g, (one) => `&#${one.charCodeAt(0)};`);
  return Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`).join("");
}

/** Run lengths of the mask inside its bounding box, row by row, starting with background. */
function rowRuns({ mask, bbox: [left, top, across, down] }) {
  const { cells, width } = pixelsOf(mask);
  const inside = Uint8Array.from({ length: across * down }, (_, i) => cells[(top + Math.floor(i / across)) * width + left + (i % across)]);
  const runs = [0];
  inside.forEach((each, i) => (each === (i && inside[i - 1]) ? (runs[runs.length - 1] += 1) : runs.push(1)));
  return runs;
}

/** All rings joined into one polygon; the connecting edges have no area. */
function loopOf({ mask }) {
  const rings = polygonsOf(pixelsOf(mask)).flat();
  return rings.flatMap((ring, index) => (index ? [...ring, ring[0], rings[0][0]] : [...ring, ring[0]]));
}

/**
 * A zip of `[name, content]`; the function `content` returns a text or a blob. One file is in memory at a time.
 *
 * gzip writes, after a header of ten bytes, what a zip needs: the deflated content, its CRC and its size.
 */
export async function zip(files) {
  const [parts, central] = [[], []];
  const [shorts, longs] = [Uint16Array, Uint32Array].map((Kind) => (...values) => Kind.from(values)); // little-endian, as the format
  let offset = 0;
  for (const [name, content] of files) {
    const path = new TextEncoder().encode(name);
    const packed = await new Response(new Blob([await content()]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
    const deflated = packed.slice(10, -8);
    const shared = [shorts(20, 0x0800, 8, 0, 0x21), packed.slice(-8, -4), longs(deflated.size), packed.slice(-4), shorts(path.length, 0)];
    const local = new Blob([longs(0x04034b50), ...shared, path, deflated]);
    parts.push(local);
    central.push(longs(0x02014b50), shorts(20), ...shared, shorts(0, 0, 0), longs(0, offset), path);
    offset += local.size;
  }
  const list = new Blob(central);
  const end = [longs(0x06054b50), shorts(0, 0, parts.length, parts.length), longs(list.size, offset), shorts(0)];
  return new Blob([...parts, list, ...end], { type: "application/zip" });
}
