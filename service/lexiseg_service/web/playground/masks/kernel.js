// The service's kernel in C (`lexiseg_model/kernel`, described in kernel.h), compiled to WebAssembly: masks and pictures.
// Maps are row by row. Spans are where the runs of a mask begin and end, alternately, column by column.

const MAX_CHARACTERS = 14; // of a run as text
const WIDE = 256; // labels from which on a map has two bytes a pixel
let kernel = /** @type {any} */ (null);

/** Resolves when all other functions work. */
export const ready = (async () => {
  const file = await fetch(new URL("./kernel.wasm", import.meta.url));
  kernel = (await WebAssembly.instantiate(await file.arrayBuffer())).instance.exports;
})();
ready.catch(() => null); // a rejection is handled where `ready` is awaited

/** Acts with memory of the kernel, which is freed afterwards: `put` copies an array there, `room` reserves bytes, `read` copies back. */
function inMemory(act) {
  const taken = [];
  const room = (bytes) => {
    const place = kernel.malloc(bytes + 1) >>> 0;
    if (!place) throw new RangeError("The kernel has no memory left.");
    taken.push(place);
    return place;
  };
  const put = (values) => {
    const place = room(values.byteLength);
    new values.constructor(kernel.memory.buffer, place, values.length).set(values);
    return place;
  };
  const read = (Kind, place, length) => new Kind(kernel.memory.buffer, place, length).slice();
  try {
    return act({ room, put, read });
  } finally {
    taken.forEach(kernel.free);
  }
}

/** Calls a function with places in memory, and with integers as BigInt. */
function call(name, ...given) {
  const result = Number(kernel[`lexiseg_${name}`](...given));
  if (result < 0) throw new RangeError("The kernel has no memory left.");
  return result;
}

const integers = (...values) => values.map(BigInt);

/** Arguments for bilinear interpolation of cells [h, w] to pixels [H, W]. */
const axes = ({ room }, from, to) =>
  from.flatMap((cells, axis) => {
    const [low, weight] = [room(8 * to[axis]), room(4 * to[axis])];
    call("axis", ...integers(cells, to[axis]), low, weight);
    return [low, weight, BigInt(to[axis])];
  });

/** Winner and probability of each pixel [H, W] of scores [count, h, w], and the sum of these (`votes`) of each label. */
export function winners(scores, count, cells, size) {
  return inMemory((memory) => {
    const pixels = size[0] * size[1];
    const Kind = count <= WIDE ? Uint8Array : Uint16Array;
    const [labels, probability, votes] = [memory.room(pixels * Kind.BYTES_PER_ELEMENT), memory.room(4 * pixels), memory.put(new Float64Array(count))];
    const places = axes(memory, cells, size);
    call("winners_of_some", memory.put(scores), ...integers(count, ...cells), ...places, labels, ...integers(count > WIDE), probability, votes, BigInt(count));
    const { read } = memory;
    return { labels: read(Kind, labels, pixels), probability: read(Float32Array, probability, pixels), votes: read(Float64Array, votes, count) };
  });
}

/** `{mask, area, bbox}` of every label below `count` in a map [H, W]; `mask` is a COCO RLE. */
export function encodedMap(labels, count, size) {
  return inMemory(({ room, put, read }) => {
    const [height, width] = size;
    const map = [put(labels), ...integers(...size, labels.BYTES_PER_ELEMENT > 1)];
    const changes = [room(8 * (width + 1)), room(4 * height * width), room(8 * height)];
    const runs = call("count_runs", ...map, ...changes);
    const [summaries, text] = [room(48 * count), room(MAX_CHARACTERS * (runs + count))];
    call("encode_runs", ...map, ...changes, ...integers(runs, count), summaries, text);
    return masksOf(read, summaries, text, count, size);
  });
}

/** `{mask, area, bbox}` of spans. */
export function encodedSpans(spans, size) {
  return inMemory(({ room, put, read }) => {
    const [n, summary, text] = [spans.length / 2, room(48), room(MAX_CHARACTERS * (spans.length / 2 + 1))];
    call("encode_spans", put(BigInt64Array.from(spans, BigInt)), ...integers(n, size[0], size[0] * size[1]), summary, text);
    return masksOf(read, summary, text, 1, size)[0];
  });
}

/** Masks of the kernel's summaries [count, 6]: area, box, and the end of the counts in the text. */
function masksOf(read, summaries, text, count, size) {
  const numbers = Array.from(read(BigInt64Array, summaries, 6 * count), Number);
  const counts = new TextDecoder().decode(read(Uint8Array, text, numbers.at(-1) ?? 0));
  return Array.from({ length: count }, (_, index) => {
    const [area, x, y, width, height, end] = numbers.slice(6 * index, 6 * index + 6);
    const start = index ? numbers[6 * index - 1] : 0;
    return { mask: { size, counts: counts.slice(start, end) }, area, bbox: [x, y, width, height] };
  });
}

/** Spans of a mask: where upsampled logits [h, w] are not below 0. */
export function cut(logits, cells, size) {
  return inMemory((memory) => {
    const bounds = memory.room(8 * (size[1] * (cells[0] + 2) + 2));
    const n = call("cut", memory.put(logits), ...integers(...cells), ...axes(memory, cells, size), bounds);
    return Array.from(memory.read(BigInt64Array, bounds, n), Number);
  });
}

/** 4-connected regions of equal labels in a map: their `owner` (the label) and `areas`, and each run's `ends` and `region`, row by row. */
export function connected(labels, size) {
  return inMemory(({ room, put, read }) => {
    const map = [put(labels), ...integers(...size, labels.BYTES_PER_ELEMENT > 1)];
    const runs = call("count_row_runs", ...map);
    const [ends, region, areas, owner] = [room(8 * runs), room(4 * runs), room(8 * runs), room(4 * runs)];
    const n = call("connect", ...map, BigInt(runs), ends, region, areas, owner);
    const [endsOfRuns, areasOfRegions] = [read(BigInt64Array, ends, runs), read(BigInt64Array, areas, n)].map((some) => Array.from(some, Number));
    return { ends: endsOfRuns, region: read(Int32Array, region, runs), areas: areasOfRegions, owner: read(Int32Array, owner, n) };
  });
}

// Bit-exact with OpenCV: by area if the picture becomes smaller, else linear. The result is of a `Kind`, clamped bytes or float32.
/** The first `kept` of `channels` bytes of each pixel of a picture, resized from one size [height, width] to another. @param {any} Kind */
export function resized(source, from, to, channels, kept, linear = false, Kind = Uint8ClampedArray) {
  return inMemory(({ room, put, read }) => {
    const n = to[0] * to[1] * kept;
    const target = room(n * Kind.BYTES_PER_ELEMENT);
    call("resize", put(source), ...integers(...from, ...to, channels, kept, linear, Kind === Float32Array), target);
    return read(Kind, target, n);
  });
}

/** Pixels [H * W] by columns: 1 where a round brush on its way along points covers them. */
export function stroked([height, width], { points, radius }) {
  return inMemory(({ put, read }) => {
    const pixels = put(new Uint8Array(height * width));
    call("stroke", put(Float64Array.from(points.flatMap(({ x, y }) => [x, y]))), BigInt(points.length), radius, ...integers(height, width), pixels);
    return read(Uint8Array, pixels, height * width);
  });
}

/** Label Studio's bytes of a mask, whose pixels are 0 or 1 by rows. */
export function brushed(pixels) {
  return inMemory(({ put, room, read }) => {
    const bytes = room(8 + 2 * pixels.length);
    return [...read(Uint8Array, bytes, call("brush", put(Uint8Array.from(pixels)), BigInt(pixels.length), bytes))];
  });
}

/** CRC-32 of bytes. */
export const crc = (bytes) => inMemory(({ put }) => call("crc", put(bytes), BigInt(bytes.length)));

/** Rings of corners [x, y] as one, by edges without area. */
export function joined(rings) {
  return inMemory(({ put, room, read }) => {
    const corners = rings.flat();
    let end = 0;
    const ends = BigInt64Array.from(rings, ({ length }) => BigInt((end += length)));
    const loop = room(8 * (end + 2 * rings.length));
    const n = call("join", put(BigInt64Array.from(corners.flat(), BigInt)), put(ends), BigInt(rings.length), loop);
    return Array.from(read(BigInt64Array, loop, n), (place) => corners[Number(place)]);
  });
}

/** [[exterior, ...holes], ...] of spans, the largest part first; a ring is of pixel corners [x, y]. */
export function outlines(spans, size) {
  return inMemory(({ room, put, read }) => {
    let columns = 0;
    for (let i = 0; i < spans.length; i += 2) columns += Math.floor((spans[i + 1] - 1) / size[0]) - Math.floor(spans[i] / size[0]) + 1;
    const most = 4 * columns + 4;
    const [corners, loops] = [room(16 * most), room(6 * most)];
    const n = call("outlines", put(BigInt64Array.from(spans, BigInt)), ...integers(spans.length / 2, ...size, most), corners, loops);
    const numbers = Array.from(read(BigInt64Array, loops, 3 * n), Number); // of each loop: end in `corners`, twice the signed area, part
    const places = Array.from(read(BigInt64Array, corners, n ? 2 * numbers[3 * n - 3] : 0), Number);
    const rings = Array.from({ length: n }, (_, loop) => {
      const [from, to] = [loop ? numbers[3 * loop - 3] : 0, numbers[3 * loop]];
      const ring = Array.from({ length: to - from }, (_, i) => places.slice(2 * (from + i), 2 * (from + i) + 2));
      return { ring, area: numbers[3 * loop + 1], part: numbers[3 * loop + 2] };
    });
    const inOrder = (one, other) => one.ring[0][1] - other.ring[0][1] || one.ring[0][0] - other.ring[0][0];
    const exteriors = rings.filter(({ area }) => area > 0).sort((one, other) => other.area - one.area || inOrder(one, other));
    const holesOf = (part) => rings.filter((one) => one.area < 0 && one.part === part).sort(inOrder);
    return exteriors.map((one) => [one, ...holesOf(one.part)].map(({ ring }) => ring));
  });
}
