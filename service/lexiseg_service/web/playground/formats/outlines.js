// Masks as polygons.

import { outlines } from "../masks/kernel.js";
import { spansOf } from "../masks/runs.js";

/** [[exterior, ...holes], ...], the largest part first; rings of pixel corners [x, y]. */
export const polygonsOf = (mask) => outlines(spansOf(mask), mask.size);
