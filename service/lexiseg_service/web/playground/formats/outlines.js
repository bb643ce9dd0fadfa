// Masks as polygons.

import { outlines } from "../masks/kernel.js";
import { spansOf } from "../masks/runs.js";

/** [[exterior, ...holes], ...], the largest part first; rings of pixel corners [x, y]. */
export const polygonsOf = (mask) => outlines(spansOf(mask), mask.size);

/** All rings joined into one polygon, by edges without area: short, for readers draw edges, too. */
export function loopOf({ mask }) {
  const [first = [], ...others] = polygonsOf(mask).flat();
  let corners = first; // ring after ring
  let loop = first;
  for (const ring of others) {
    let [least, from, to] = [Infinity, 0, 0];
    for (let i = 0; i < corners.length; i++) {
      for (let j = 0; j < ring.length; j++) {
        const square = (corners[i][0] - ring[j][0]) ** 2 + (corners[i][1] - ring[j][1]) ** 2;
        if (square < least) [least, from, to] = [square, i, j];
      }
    }
    const here = loop.indexOf(corners[from]);
    loop = [...loop.slice(0, here + 1), ...ring.slice(to), ...ring.slice(0, to + 1), ...loop.slice(here)];
    corners = corners.concat(ring);
  }
  return loop;
}
