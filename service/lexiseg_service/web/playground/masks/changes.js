// Masks made of others: joined, subtracted and split; each as `{mask, area, bbox}`.

import { connected, encodedMap, encodedSpans } from "./kernel.js";
import { overlapOf, paint, pixelsIn, pixelsOf, spansIn, spansOf } from "./runs.js";

/** What is not 0 in pixels [H * W] in column-major order. */
export const encoded = (pixels, size) => encodedSpans(spansIn(pixels), size);

/** A segment without the pixels of others; as it is where it has none of them. */
export function without(one, others) {
  const above = others.filter((other) => overlapOf(one, other));
  if (!above.length) return one;
  const { size } = one.mask;
  const pixels = pixelsIn(size, [one.mask]);
  for (const { mask } of above) paint(pixels, spansOf(mask), 0);
  return { ...one, ...encoded(pixels, size), prompt: undefined };
}

/** The 4-connected parts of a mask, the largest first; those below the share `crumb` of it belong to the largest. */
export function partsOf(mask, crumb) {
  const { cells } = pixelsOf(mask);
  const { ends, region, areas, owner } = connected(cells, mask.size);
  const inside = [...owner.keys()].filter((id) => owner[id]);
  const total = inside.reduce((sum, id) => sum + areas[id], 0);
  const large = inside.filter((id) => areas[id] >= crumb * total).sort((a, b) => areas[b] - areas[a]);
  const places = Array.from(owner, (isInside, id) => (isInside ? Math.max(0, large.indexOf(id)) : large.length));
  ends.forEach((end, run) => cells.fill(places[region[run]], ends[run - 1] ?? 0, end));
  return encodedMap(cells, large.length, mask.size);
}
