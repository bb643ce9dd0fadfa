// Video memory: scores averaged over frames, and stable object numbers, by the same rules as the service.

import { resized, scaled } from "./maps.js";
import { encoded, overlapOf, pixelsIn } from "../masks.js";

const OF_GRAY = [4899, 9617, 1868]; // weights of red, green and blue in 1/16384, as in OpenCV's conversion to gray

/** The memory of one clip and question. Call `look`, `smooth` and `follow` for each frame, in this order. */
export function videoMemory(rules, run) {
  let picture = null; // of the last frame: {rgb, gray, size: [h, w]}
  let motion = null; // from the previous frame, or null: position `x`, `y` of each pixel in it, and its `trust`
  let past = null; // averaged scores
  let tracks = []; // {number, label, seen: {mask, area, bbox}, missed}
  let last = 0; // number of the newest track

  /** Stores the next frame, RGB bytes of a tile [height, width], and estimates its motion. @param {number[]} tile */
  async function look(rgb, tile) {
    const factor = Math.min(1, rules.motion.max_side / Math.max(...tile));
    const size = tile.map((side) => Math.max(1, Math.round(side * factor)));
    const small = resized(rgb, tile, size, 3, 3);
    const gray = Float32Array.from({ length: small.length / 3 }, (_, i) => {
      return OF_GRAY.reduce((sum, part, channel) => sum + part * small[3 * i + channel], 8192) >> 14;
    });
    const before = picture;
    picture = { rgb: Uint8Array.from(small), gray, size };
    motion = before && String(before.size) === String(size) ? await motionSince(before, picture) : null;
  }

  /** The motion between two pictures; null if they show different scenes. */
  async function motionSince(before, { rgb, gray, size }) {
    const { flow: { patch, finest }, motion: { min_side: minSide } } = rules;
    const scales = [Math.log2(Math.max(...size) / (4 * patch)) + 0.5, Math.log2(Math.min(...size) / (patch + 1))].map(Math.floor);
    let [shifts, from] = [new Float32Array(2 * gray.length), size];
    for (let scale = Math.min(...scales); scale >= finest && Math.min(...size) >= minSide; scale--) {
      const to = size.map((side) => Math.floor(side / 2 ** scale));
      const [one, other] = [gray, before.gray].map((map) => resized(map, size, to, 1, 1, false, Float32Array));
      const found = await run("search", { now: [one, to], before: [other, to], start: [shiftsAt(shifts, from, to), [...to, 2]] });
      [shifts, from] = [found.shifts.data, to];
    }
    const pictures = { now: [gray, size], before: [before.gray, size], colours: [rgb, [...size, 3]], earlier: [before.rgb, [...size, 3]] };
    const { x, y, trust, cut } = await run("motion", { ...pictures, shifts: [shiftsAt(shifts, from, size), [...size, 2]] });
    return cut.data[0] ? null : { x: x.data, y: y.data, trust: trust.data };
  }

  /** Scores [count, h, w] averaged with earlier ones along the motion, weighted by its trust. @param {number[]} cells [h, w] */
  async function smooth(scores, cells) {
    const before = past;
    past = scores;
    if (!motion || before?.length !== scores.length) return scores;
    const [x, y, trust] = ["x", "y", "trust"].map((name) => resized(motion[name], picture.size, cells, 1, 1, false, Float32Array));
    const places = [y, x].map((map, axis) => [map.map((place) => ((place + 0.5) * cells[axis]) / picture.size[axis] - 0.5), cells]);
    const weight = [trust.map((each) => each * rules.smoothing), cells];
    const dims = [scores.length / x.length, ...cells];
    const { average } = await run("smooth", { scores: [scores, dims], past: [before, dims], x: places[1], y: places[0], weight });
    return (past = average.data);
  }

  /** Numbers of segments {piece, class_index}, null for small ones; `labels`: the piece of each pixel, in column-major order. */
  function follow(labels, segments, [H, W]) {
    const { min_overlap: minOverlap, max_missed: maxMissed, max_tracks: maxTracks } = rules.tracking;
    const [height, width] = picture.size;
    const small = Uint16Array.from({ length: height * width }, (_, cell) => {
      const [column, row] = [Math.floor(((cell % width) * W) / width), Math.floor((Math.floor(cell / width) * H) / height)];
      return labels[column * H + row];
    });
    const sides = /** @type {[any, any]} */ ([width, height]); // of masks of rows instead of columns
    const all = encoded(small, 1 + Math.max(...segments.map(({ piece }) => piece)), sides);
    const masks = segments.map(({ piece }) => all[piece]);
    if (!motion) tracks = [];
    for (const track of tracks) {
      const cells = pixelsIn(sides, [track.seen.mask]);
      const moved = cells.map((_, cell) => {
        const [column, row] = [Math.round(motion.x[cell]), Math.round(motion.y[cell])];
        return Number(column >= 0 && row >= 0 && column < width && row < height && cells[row * width + column]);
      });
      track.seen = encoded(moved, 2, sides)[1];
    }
    const pairs = tracks.flatMap((track) =>
      segments.flatMap(({ class_index: label }, index) => (label === track.label ? [{ track, index, overlap: overlapOf(track.seen, masks[index]) }] : [])),
    );
    pairs.sort((one, other) => other.overlap - one.overlap || one.track.number - other.track.number);
    const owners = new Map();
    for (const { track, index, overlap } of pairs) {
      if (overlap >= minOverlap && !owners.has(index) && ![...owners.values()].includes(track)) owners.set(index, track);
    }
    const current = segments.map(({ class_index: label }, index) => {
      if (!masks[index].area) return null;
      const track = owners.get(index) ?? { number: (last += 1), label };
      return Object.assign(track, { seen: masks[index], missed: 0 });
    });
    const missing = tracks.filter((track) => !current.includes(track) && (track.missed += 1) <= maxMissed && track.seen.area);
    const largest = current.filter(Boolean).sort((one, other) => other.seen.area - one.seen.area);
    tracks = [...largest, ...missing].slice(0, maxTracks);
    return current.map((track) => track?.number ?? null);
  }

  return { look, smooth, follow };
}

/** @param {number[]} from @param {number[]} to */
const shiftsAt = (shifts, from, to) => scaled(resized(shifts, from, to, 2, 2, true, Float32Array), from, to);
