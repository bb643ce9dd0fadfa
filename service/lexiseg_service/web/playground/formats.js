// Segments in the formats of annotation tools, and all of them in one zip.

import { cellsOf } from "./masks.js";

const UNNAMED = "object";

/** `pictures`: {name (of the file), size: [height, width], segments}; `names`: of their classes. */
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

/** Ultralytics' lines `CLASS x y x y ...`, corners in shares of width and height. */
export function yolo({ segments, size: [height, width] }, names) {
  const share = ([x, y]) => `${(x / width).toFixed(6)} ${(y / height).toFixed(6)}`;
  return segments.map((one) => `${names.indexOf(one.name)} ${loopOf(one).map(share).join(" ")}\n`).join("");
}

/** A list of tasks, with the segments as predictions. Blobs, so that browsers keep on their disk what is made. */
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

/** A feature for each segment, in pixels. */
export function geojson({ segments }) {
  const closed = (ring) => [...ring, ring[0]];
  return JSON.stringify({
    type: "FeatureCollection",
    features: segments.map((one, index) => ({
      type: "Feature",
      id: index + 1,
      geometry: { type: "MultiPolygon", coordinates: polygonsOf(one).map((rings) => rings.map(closed)) },
      properties: { label: one.label, score: one.score, area: one.area },
    })),
  });
}

/** YOLO's description of its classes. */
export function dataYaml(names) {
  return `train: images\nval: images\nnames:\n${names.map((name, index) => `  ${index}: ${JSON.stringify(name)}\n`).join("")}`;
}

function attributesOf(attributes) {
  const escaped = (value) => String(value).replace(/[<>&"]/g, (one) => `&#${one.charCodeAt(0)};`);
  return Object.entries(attributes).map(([name, value]) => ` ${name}="${escaped(value)}"`).join("");
}

/** Run lengths of the mask inside its box, row by row, outside first. */
function rowRuns({ mask, bbox: [left, top, across, down] }) {
  const cells = cellsOf(mask);
  const runs = [0];
  let inside = 0;
  for (let y = top; y < top + down; y++) {
    for (let x = left; x < left + across; x++) {
      if (cells[y * mask.size[1] + x] !== inside) {
        inside = 1 - inside;
        runs.push(0);
      }
      runs[runs.length - 1] += 1;
    }
  }
  return runs;
}

/** All rings as one loop; the way to each ring and back covers no area. */
function loopOf(one) {
  const rings = polygonsOf(one).flat();
  return rings.flatMap((ring, index) => (index ? [...ring, ring[0], rings[0][0]] : [...ring, ring[0]]));
}

/** [[exterior, ...holes], ...] of a mask: rings of pixel corners [x, y]. */
function polygonsOf({ mask }) {
  const rings = ringsOf(cellsOf(mask), mask.size);
  const polygons = rings.filter((ring) => areaOf(ring) > 0).map((ring) => [ring]);
  for (const hole of rings.filter((ring) => areaOf(ring) < 0)) {
    const around = polygons.filter(([exterior]) => contains(exterior, hole[0]));
    around.sort(([one], [other]) => areaOf(one) - areaOf(other))[0].push(hole);
  }
  return polygons;
}

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up

/** Borders of the cells that are 1, which lie to the right of the way: parts that touch at a corner only are apart. */
function ringsOf(cells, [height, width]) {
  const sides = new Uint8Array((width + 1) * (height + 1)); // of each corner: the directions in which a border leaves it
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && cells[y * width + x];
  const leave = (x, y, direction) => (sides[y * (width + 1) + x] |= 1 << direction);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) leave(x, y, 0);
      if (!inside(x + 1, y)) leave(x + 1, y, 1);
      if (!inside(x, y + 1)) leave(x + 1, y + 1, 2);
      if (!inside(x - 1, y)) leave(x, y + 1, 3);
    }
  }
  const rings = [];
  for (let start = 0; start < sides.length; start++) {
    while (sides[start]) rings.push(walk(sides, width + 1, start));
  }
  return rings;
}

/** One ring of corners from a start; removes its sides. */
function walk(sides, columns, start) {
  const ring = [];
  let place = start;
  let before = -1;
  do {
    // To the right first: a pixel's own corner.
    const turns = before < 0 ? [0, 1, 2, 3] : [(before + 1) % 4, before, (before + 3) % 4];
    const direction = turns.find((each) => sides[place] & (1 << each));
    if (direction !== before) ring.push([place % columns, Math.floor(place / columns)]);
    sides[place] &= ~(1 << direction);
    place += STEPS[direction][0] + columns * STEPS[direction][1];
    before = direction;
  } while (place !== start);
  return ring;
}

/** Positive for rings that run clockwise on the screen. */
function areaOf(ring) {
  return ring.reduce((sum, [x, y], index) => {
    const [nextX, nextY] = ring[(index + 1) % ring.length];
    return sum + (x * nextY - nextX * y) / 2;
  }, 0);
}

/** Whether the pixel at a hole's first corner, its upper left one, is inside the exterior. @param {number[][]} exterior @param {number[]} corner */
function contains(exterior, [left, top]) {
  const [x, y] = [left + 0.5, top + 0.5];
  return exterior.reduce((inside, [x0, y0], index) => {
    const [x1, y1] = exterior[(index + 1) % exterior.length];
    return x0 === x1 && y0 > y !== y1 > y && x < x0 ? !inside : inside;
  }, false);
}

/**
 * A zip of `[name, text, blob or a promise of one]`; one file is in memory at a time.
 *
 * What gzip writes after its header of ten bytes is what a zip holds: the packed content, its CRC and its size.
 */
export async function zip(files) {
  const [parts, central] = [[], []];
  const [shorts, longs] = [Uint16Array, Uint32Array].map((Kind) => (...values) => Kind.from(values)); // little-endian, as the format
  let offset = 0;
  for (const [name, content] of files) {
    const path = new TextEncoder().encode(name);
    const packed = await new Response(new Blob([await content]).stream().pipeThrough(new CompressionStream("gzip"))).blob();
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
