// Masks as polygons.

import { outlines } from "../masks/kernel.js";
import { spansOf } from "../masks/runs.js";

const MAX_PAIRS = 2 ** 22; // of corners that are compared; longer rings are joined at their first ones

/** [[exterior, ...holes], ...], the largest part first; rings of pixel corners [x, y]. */
export const polygonsOf = (mask) => outlines(spansOf(mask), mask.size);

/** All rings joined into one polygon, by edges without area: short, for readers draw edges, too. */
export function loopOf({ mask }) {
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
