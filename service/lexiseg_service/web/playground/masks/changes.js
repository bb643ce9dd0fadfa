// Masks made of others: joined, subtracted, split, and painted by a brush; each as `{mask, area, bbox}`.

import { connected, encodedSpans } from "./kernel.js";
import { overlapOf, paint, pixelsIn, spansIn, spansOf } from "./runs.js";

/** What is not 0 in pixels [H * W] in column-major order. */
export const encoded = (pixels, size) => encodedSpans(spansIn(pixels), size);

export const union = (size, some) => encoded(pixelsIn(size, some.map(({ mask }) => mask)), size);

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
  const { size, size: [height, width] } = mask;
  const pixels = pixelsIn(size, [mask]);
  const { ends, region, areas, owner } = connected(pixels, [width, height]); // of columns, as if they were rows
  const inside = [...owner.keys()].filter((id) => owner[id]);
  const total = inside.reduce((sum, id) => sum + areas[id], 0);
  const large = inside.filter((id) => areas[id] >= crumb * total).sort((a, b) => areas[b] - areas[a]);
  const places = Array.from(owner, (isInside, id) => (isInside ? Math.max(0, large.indexOf(id)) : -1));
  const spans = large.map(() => []);
  region.forEach((id, run) => {
    const own = spans[places[id]];
    const begin = run ? ends[run - 1] : 0;
    if (own?.at(-1) === begin) own[own.length - 1] = ends[run]; // goes on from the column before
    else own?.push(begin, ends[run]);
  });
  return spans.map((own) => encodedSpans(own, size));
}

/** The pixels that a round brush on its way along points covers. */
export function stroked([H, W], { points, radius }) {
  const pixels = new Uint8Array(H * W);
  const within = (place, most) => Math.min(Math.max(place, 0), most);
  points.forEach((to, index) => {
    const from = points[Math.max(0, index - 1)];
    const [across, down] = [to.x - from.x, to.y - from.y];
    const [xs, ys] = [[from.x, to.x, W], [from.y, to.y, H]].map(([a, b, side]) => [
      Math.floor(within(Math.min(a, b) - radius, side)),
      Math.ceil(within(Math.max(a, b) + radius, side)),
    ]);
    for (let x = xs[0]; x < xs[1]; x++) {
      for (let y = ys[0]; y < ys[1]; y++) {
        const [right, below] = [x + 0.5 - from.x, y + 0.5 - from.y];
        const share = within((right * across + below * down) / (across * across + down * down || 1), 1);
        if (Math.hypot(right - share * across, below - share * down) <= radius) pixels[x * H + y] = 1;
      }
    }
  });
  return encoded(pixels, [H, W]);
}
