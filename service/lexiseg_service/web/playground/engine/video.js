// Video: scores averaged over the frames of a clip, and numbers that stay with objects, by the service's rules.

import { at, shiftsOf } from "./flow.js";
import { resized } from "./maps.js";

const OF_GRAY = [4899, 9617, 1868]; // of red, green and blue, in 1/16384, as OpenCV makes gray of them

/** The memory of one clip and question. For each frame, in order: `look`, `steady`, `follow`. */
export class VideoMemory {
  #rules;
  #picture = null; // of the last frame: {rgb, gray, size: [h, w]}
  #motion = null; // since the frame before, or null: `x` and `y` in it of each pixel, and the `trust` in that
  #past = null; // the average
  #tracks = []; // {number, label, mask, missed}
  #last = 0; // number

  constructor(rules) {
    this.#rules = rules;
  }

  /** Takes in the next frame: its tile [height, width] in bytes of red, green and blue. @param {number[]} tile */
  look(rgb, tile) {
    const { MAX_SIDE } = this.#rules.constants.motion;
    const factor = Math.min(1, MAX_SIDE / Math.max(...tile));
    const size = tile.map((side) => Math.max(1, Math.round(side * factor)));
    const small = resized(rgb, tile, size, 3, 3);
    const gray = Float32Array.from({ length: small.length / 3 }, (_, i) => {
      return OF_GRAY.reduce((sum, part, channel) => sum + part * small[3 * i + channel], 8192) >> 14;
    });
    const [before, now] = [this.#picture, { rgb: small, gray, size }];
    this.#picture = now;
    this.#motion = before && String(before.size) === String(size) ? motionOf(this.#rules, before, now) : null;
  }

  /** Scores [count, h, w] averaged with those before, where what was there is still to be seen. @param {number[]} cells [h, w] */
  steady(scores, cells) {
    const average = Float32Array.from(scores);
    if (this.#motion && this.#past?.length === scores.length) {
      const [h, w] = cells;
      const [height, width] = this.#picture.size;
      const [x, y, trust] = ["x", "y", "trust"].map((name) => resized(this.#motion[name], [height, width], cells, 1, 1, false, Float32Array));
      for (let cell = 0; cell < h * w; cell++) {
        const [column, row] = [((x[cell] + 0.5) * w) / width - 0.5, ((y[cell] + 0.5) * h) / height - 0.5];
        const weight = this.#rules.smoothing * trust[cell];
        for (let start = 0; start < scores.length; start += h * w) {
          average[start + cell] += weight * (at(this.#past, cells, column, row, start) - scores[start + cell]);
        }
      }
    }
    this.#past = average;
    return average;
  }

  /**
   * A number for each segment, or null for one that is too small.
   *
   * @param {any} labels piece of each pixel, down the columns
   * @param {any[]} segments each with `piece` and `class_index`
   * @param {number[]} image [height, width]
   */
  follow(labels, segments, image) {
    const { MIN_OVERLAP, MAX_MISSED, MAX_TRACKS } = this.#rules.constants.tracking;
    if (!this.#motion) this.#tracks = [];
    for (const track of this.#tracks) track.mask = this.#moved(track.mask);
    const masks = this.#masksOf(labels, segments, image);
    const pairs = this.#tracks.flatMap((track) =>
      segments.flatMap(({ class_index: label }, index) => (label === track.label ? [{ track, index, overlap: overlapOf(track.mask, masks[index]) }] : [])),
    );
    pairs.sort((one, other) => other.overlap - one.overlap || one.track.number - other.track.number);
    const owners = new Map();
    for (const { track, index, overlap } of pairs) {
      if (overlap >= MIN_OVERLAP && !owners.has(index) && ![...owners.values()].includes(track)) owners.set(index, track);
    }
    const current = segments.map(({ class_index: label }, index) => {
      if (!masks[index].area) return null;
      const track = owners.get(index) ?? { number: (this.#last += 1), label };
      return Object.assign(track, { mask: masks[index], missed: 0 });
    });
    const here = new Set(current);
    const missing = this.#tracks.filter((track) => !here.has(track) && (track.missed += 1) <= MAX_MISSED && track.mask.area);
    const largest = current.filter(Boolean).sort((one, other) => other.mask.area - one.mask.area);
    this.#tracks = [...largest, ...missing].slice(0, MAX_TRACKS);
    return current.map((track) => track?.number ?? null);
  }

  /** A mask of the frame before, where it is now. */
  #moved({ cells }) {
    const { x, y } = this.#motion;
    const [height, width] = this.#picture.size;
    return maskOf(cells.length, (cell) => {
      const [column, row] = [Math.round(x[cell]), Math.round(y[cell])];
      return column >= 0 && row >= 0 && column < width && row < height && cells[row * width + column] > 0;
    });
  }

  /** Of each segment, at the size of the small picture. @param {number[]} image */
  #masksOf(labels, segments, image) {
    const [H, W] = image;
    const [height, width] = this.#picture.size;
    const small = Uint16Array.from({ length: height * width }, (_, cell) => {
      const [column, row] = [Math.floor(((cell % width) * W) / width), Math.floor((Math.floor(cell / width) * H) / height)];
      return labels[column * H + row];
    });
    return segments.map(({ piece }) => maskOf(small.length, (cell) => small[cell] === piece));
  }
}

function maskOf(length, isInside) {
  const cells = Uint8Array.from({ length }, (_, cell) => Number(isInside(cell)));
  return { cells, area: cells.reduce((sum, each) => sum + each, 0) };
}

/** Intersection over union. */
function overlapOf(one, other) {
  const both = one.cells.reduce((sum, each, cell) => sum + (each & other.cells[cell]), 0);
  return both ? both / (one.area + other.area - both) : 0;
}

/** The motion from one picture to the next; null where they show different scenes. */
function motionOf(rules, before, now) {
  const { TOLERANCE, NOISE_BLUR, OTHER_COLOURS, SAME_SHAPES, MIN_SIDE } = rules.constants.motion;
  const [height, width] = now.size;
  const n = height * width;
  const shifts = Math.min(height, width) < MIN_SIDE ? new Float32Array(2 * n) : shiftsOf(now.gray, before.gray, now.size, rules.flow);
  const x = Float32Array.from({ length: n }, (_, i) => (i % width) + shifts[2 * i]);
  const y = Float32Array.from({ length: n }, (_, i) => Math.floor(i / width) + shifts[2 * i + 1]);
  const moved = Float32Array.from({ length: n }, (_, i) => Math.round(at(before.gray, now.size, x[i], y[i])));
  if (colourDistance(rules, before, now) > OTHER_COLOURS && likeness(moved, now.gray) < SAME_SHAPES) return null;
  const error = blurred(moved.map((value, i) => Math.abs(value - now.gray[i])), now.size, NOISE_BLUR);
  const trust = error.map((value, i) => {
    const isOutside = x[i] < -0.5 || y[i] < -0.5 || x[i] > width - 0.5 || y[i] > height - 0.5; // pixels reach half a pixel beyond their centres
    return isOutside ? 0 : Math.exp(-((value / TOLERANCE) ** 2));
  });
  return { x, y, trust };
}

/** Half the difference of two pictures' histograms of colours: 0 for equal ones, 1 for those without a common colour. */
function colourDistance({ constants: { motion: { BINS } } }, before, now) {
  const difference = new Int32Array(BINS ** 3);
  const bin = (value) => Math.floor((value * BINS) / 256);
  for (const [{ rgb }, sign] of [[before, 1], [now, -1]]) {
    for (let i = 0; i < rgb.length; i += 3) difference[(bin(rgb[i]) * BINS + bin(rgb[i + 1])) * BINS + bin(rgb[i + 2])] += sign;
  }
  return difference.reduce((sum, each) => sum + Math.abs(each), 0) / (2 * now.gray.length);
}

/** The correlation of two gray pictures; two flat ones are alike. */
function likeness(one, other) {
  const [a, b] = [one, other].map((gray) => {
    const mean = gray.reduce((sum, value) => sum + value, 0) / gray.length;
    return gray.map((value) => value - mean);
  });
  const product = (left, right) => left.reduce((sum, value, i) => sum + value * right[i], 0);
  const scale = Math.sqrt(product(a, a) * product(b, b));
  return scale > 0 ? product(a, b) / scale : 1;
}

/** Gaussian means of that width in pixels. @param {number[]} size */
function blurred(map, size, sigma) {
  const [height, width] = size;
  const reach = Math.round(4 * sigma);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const along = (values, length, step, lineOf) =>
    values.map((_, cell) => {
      const [place, start] = lineOf(cell);
      return weights.reduce((sum, weight, i) => sum + (weight / total) * values[start + mirrored(place + i - reach, length) * step], 0);
    });
  const across = along(map, width, 1, (cell) => [cell % width, cell - (cell % width)]);
  return along(across, height, width, (cell) => [Math.floor(cell / width), cell % width]);
}

/** A place beyond an edge is that on the other side of it. */
function mirrored(place, length) {
  const inside = place < 0 ? -place : place;
  return Math.max(0, inside < length ? inside : 2 * length - 2 - inside);
}
