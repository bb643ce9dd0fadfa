// The service's kernel in C (`lexiseg_model/kernel`, described in kernel.h), compiled to WebAssembly: masks, pictures, and what these teach.
// Maps are row by row. Spans are where the runs of a mask begin and end, alternately, column by column.

import { spansOf } from "./runs.js";

const MAX_CHARACTERS = 14; // of a run as text
const WIDE = 256; // labels from which on a map has two bytes a pixel
let kernel = /** @type {any} */ (null);

/** Resolves when all other functions work. */
export const ready = (async () => {
  const file = await fetch(new URL("./kernel.wasm", import.meta.url));
  kernel = (await WebAssembly.instantiate(await file.arrayBuffer())).instance.exports;
})();
ready.catch(() => null); // a rejection is handled where `ready` is awaited

const FULL = "The kernel has no memory left.";

/** Calls a function with numbers, arrays (copied to its memory) and `[kind, length]`, room for a result: what it returns, then the results. */
function called(name, ...given) {
  const taken = [];
  const put = (values) => {
    const place = kernel.malloc(values.byteLength + 1) >>> 0;
    if (!place) throw new RangeError(FULL);
    taken.push(place);
    new values.constructor(kernel.memory.buffer, place, values.length).set(values);
    return place;
  };
  try {
    const places = given.map((one) => (ArrayBuffer.isView(one) ? put(one) : Array.isArray(one) ? put(new one[0](one[1])) : one));
    const result = Number(kernel[`lexiseg_${name}`](...places));
    if (result < 0) throw new RangeError(FULL);
    return [result, ...given.flatMap((one, i) => (Array.isArray(one) ? [new one[0](kernel.memory.buffer, places[i], one[1]).slice()] : []))];
  } finally {
    taken.forEach(kernel.free);
  }
}

const integers = (...values) => values.map(BigInt);

/** Arguments for bilinear interpolation of cells [h, w] to pixels [H, W]. */
const axes = (from, to) =>
  from.flatMap((cells, axis) => {
    const [, low, weight] = called("axis", ...integers(cells, to[axis]), [BigInt64Array, to[axis]], [Float32Array, to[axis]]);
    return [low, weight, BigInt(to[axis])];
  });

/** Winner and probability of each pixel [H, W] of scores [count, h, w], and the sum of these (`votes`) of each label. */
export function winners(scores, count, cells, size) {
  const pixels = size[0] * size[1];
  const map = [[count <= WIDE ? Uint8Array : Uint16Array, pixels], BigInt(count > WIDE), [Float32Array, pixels]];
  const given = [scores, ...integers(count, ...cells), ...axes(cells, size), ...map, [Float64Array, count], BigInt(count)];
  const [, labels, probability, votes] = called("winners_of_some", ...given);
  return { labels, probability, votes };
}

/** Scores [count, h, w] in which the specks of the first `n` rows, and holes of others, are of the class around them. */
export function withoutSpecks(scores, count, n, cells, { island, most, hole, border }) {
  return called("specks", scores, ...integers(count, n, ...cells), island, most, hole, border, [Float32Array, scores.length])[1];
}

/** `{mask, area, bbox}` of every label below `count` in a map [H, W]; `mask` is a COCO RLE. */
export function encodedMap(labels, count, size) {
  const [height, width] = size;
  const map = [labels, ...integers(...size, labels.BYTES_PER_ELEMENT > 1)];
  const [runs, ...changes] = called("count_runs", ...map, [BigInt64Array, width + 1], [Int32Array, height * width], [BigInt64Array, height]);
  const room = [[BigInt64Array, 6 * count], [Uint8Array, MAX_CHARACTERS * (runs + count)]];
  const [, summaries, text] = called("encode_runs", ...map, ...changes, ...integers(runs, count), ...room);
  return masksOf(summaries, text, size);
}

/** `{mask, area, bbox}` of spans. */
export function encodedSpans(spans, size) {
  const n = spans.length / 2;
  const given = [BigInt64Array.from(spans, BigInt), ...integers(n, size[0], size[0] * size[1])];
  const [, summary, text] = called("encode_spans", ...given, [BigInt64Array, 6], [Uint8Array, MAX_CHARACTERS * (n + 1)]);
  return masksOf(summary, text, size)[0];
}

/** Masks of the kernel's summaries [count, 6]: area, box, and the end of the counts in the text. */
function masksOf(summaries, text, size) {
  const numbers = Array.from(summaries, Number);
  const counts = new TextDecoder().decode(text.subarray(0, numbers.at(-1) ?? 0));
  return Array.from({ length: numbers.length / 6 }, (_, index) => {
    const [area, x, y, width, height, end] = numbers.slice(6 * index, 6 * index + 6);
    return { mask: { size, counts: counts.slice(numbers[6 * index - 1] ?? 0, end) }, area, bbox: [x, y, width, height] };
  });
}

/** Spans of a mask: where upsampled logits [h, w] are not below 0. */
export function cut(logits, cells, size) {
  const [n, bounds] = called("cut", logits, ...integers(...cells), ...axes(cells, size), [BigInt64Array, size[1] * (cells[0] + 2) + 2]);
  return Array.from(bounds.subarray(0, n), Number);
}

/** 4-connected regions of equal labels in a map: their `owner` (the label) and `areas`, and each run's `ends` and `region`, row by row. */
export function connected(labels, size) {
  const map = [labels, ...integers(...size, labels.BYTES_PER_ELEMENT > 1)];
  const [runs] = called("count_row_runs", ...map);
  const made = [[BigInt64Array, runs], [Int32Array, runs], [BigInt64Array, runs], [Int32Array, runs]];
  const [n, ends, region, areas, owner] = called("connect", ...map, BigInt(runs), ...made);
  return { ends: Array.from(ends, Number), region, areas: Array.from(areas.subarray(0, n), Number), owner: owner.slice(0, n) };
}

/** The first `kept` of `channels` bytes of each pixel, resized as OpenCV does: by area if it becomes smaller, else linear. @param {any} Kind */
export function resized(source, from, to, channels, kept, linear = false, Kind = Uint8ClampedArray) {
  const sizes = integers(...from, ...to, channels, kept, linear, Kind === Float32Array, false);
  return called("resize", source, ...sizes, [Kind, to[0] * to[1] * kept])[1];
}

/** Pixels [H * W] by columns: 1 where a round brush on its way along points covers them. */
export function stroked(size, { points, radius }) {
  const way = Float64Array.from(points.flatMap(({ x, y }) => [x, y]));
  return called("stroke", way, BigInt(points.length), radius, ...integers(...size), [Uint8Array, size[0] * size[1]])[1];
}

/** Label Studio's bytes of a mask, whose pixels are 0 or 1 by rows. */
export function brushed(pixels) {
  const [n, bytes] = called("brush", Uint8Array.from(pixels), BigInt(pixels.length), [Uint8Array, 8 + 2 * pixels.length]);
  return [...bytes.subarray(0, n)];
}

export const crc = (bytes) => called("crc", bytes, BigInt(bytes.length))[0];

/** Rings of corners [x, y] as one, by edges without area. */
export function joined(rings) {
  const corners = rings.flat();
  let end = 0;
  const ends = BigInt64Array.from(rings, ({ length }) => BigInt((end += length)));
  const given = [BigInt64Array.from(corners.flat(), BigInt), ends, BigInt(rings.length)];
  const [n, loop] = called("join", ...given, [BigInt64Array, end + 2 * rings.length]);
  return Array.from(loop.subarray(0, n), (place) => corners[Number(place)]);
}

/** What a picture teaches by `labels` [H * W] of k classes and its `scores` [k, h, w] by words: its lesson. */
export function lessonOf(labels, size, k, { decoded, middle }, scores, { cells: most }) {
  const maps = [decoded, middle].flatMap(({ data, dims: [, ...sides] }) => [bitsOf(data), ...integers(...sides)]);
  const f = decoded.dims[1] + middle.dims[1] + 1;
  const given = [labels, ...integers(...size, k), ...maps, scores, BigInt(most)];
  const made = [[Int16Array, most], [Float32Array, most], [Float32Array, most * f], [Float32Array, most * k], [Uint8Array, most * (k + 1)]];
  const [n, own, shares, cells, text, pixels] = called("lesson", ...given, ...made);
  const halves = (numbers, across) => bitsOf(new Float16Array(numbers.subarray(0, n * across)));
  return { labels: own.slice(0, n), shares: shares.slice(0, n), cells: halves(cells, f), text: halves(text, k), pixels: pixels.slice(0, n * (k + 1)) };
}

const bitsOf = (halves) => new Uint16Array(halves.buffer, halves.byteOffset, halves.length);

/** What lessons teach of k classes, whose `places` in each lesson are known; `only`: the one label of all cells, if there are no others. */
export async function learnedOf(lessons, places, k, numbers) {
  const together = async (name) => new lessons[0][name].constructor(await new Blob(lessons.map((lesson) => lesson[name])).arrayBuffer());
  const f = lessons[0].cells.length / lessons[0].labels.length;
  const sizes = BigInt64Array.from(lessons.flatMap(({ labels, classes }) => [labels.length, classes.length]), BigInt);
  const given = [...(await Promise.all(["cells", "labels", "shares", "text", "pixels"].map(together))), sizes, Int32Array.from(places.flat())];
  const made = [[Float32Array, k * f], [Float32Array, k], [Float64Array, 3 * k], [Int32Array, 2 * k], [Float32Array, k * (f + 1)], [Float64Array, 3 * k]];
  const [only, directions, factors, , counts, nearby, iou] = called("head", ...given, ...integers(lessons.length, f, k), Float64Array.from(numbers), ...made, new Int32Array(1));
  return { only: only ? only - 1 : null, directions, factors, iou, counts, nearby };
}

/** A mask as polygons [[exterior, ...holes], ...], the largest part first; a ring is of pixel corners [x, y]. */
export function polygonsOf({ size, counts }) {
  const spans = spansOf({ counts });
  let columns = 0;
  for (let i = 0; i < spans.length; i += 2) columns += Math.floor((spans[i + 1] - 1) / size[0]) - Math.floor(spans[i] / size[0]) + 1;
  const most = 4 * columns + 4;
  const given = [BigInt64Array.from(spans, BigInt), ...integers(spans.length / 2, ...size, most)];
  const [n, corners, loops] = called("outlines", ...given, [BigInt64Array, 2 * most], [BigInt64Array, 0.75 * most]);
  const numbers = Array.from(loops.subarray(0, 3 * n), Number); // of each loop: end in `corners`, twice the signed area, part
  const places = Array.from(corners.subarray(0, n ? 2 * numbers[3 * n - 3] : 0), Number);
  const rings = Array.from({ length: n }, (_, loop) => {
    const [from, to] = [loop ? numbers[3 * loop - 3] : 0, numbers[3 * loop]];
    const ring = Array.from({ length: to - from }, (_, i) => places.slice(2 * (from + i), 2 * (from + i) + 2));
    return { ring, area: numbers[3 * loop + 1], part: numbers[3 * loop + 2] };
  });
  const inOrder = (one, other) => one.ring[0][1] - other.ring[0][1] || one.ring[0][0] - other.ring[0][0];
  const exteriors = rings.filter(({ area }) => area > 0).sort((one, other) => other.area - one.area || inOrder(one, other));
  const holesOf = (part) => rings.filter((one) => one.area < 0 && one.part === part).sort(inOrder);
  return exteriors.map((one) => [one, ...holesOf(one.part)].map(({ ring }) => ring));
}
