// Pictures of segments.

import { COLOUR, GRAY, png } from "./formats/png.js";
import { pixelsOf } from "./masks/runs.js";
import { drawn } from "./page.js";

const INSIDE = 255;

/** The PNG of a canvas. */
export const pngOf = (canvas) => png(canvas, COLOUR, canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);

/** A PNG, white inside the mask and black outside. */
export function stencil({ mask }) {
  const { cells, ...size } = pixelsOf(mask);
  return png(size, GRAY, Uint8Array.from(cells, (held) => held * INSIDE));
}

/** A canvas with the picture inside one segment, everything else transparent. */
export function cutOut({ mask, bbox: [left, top, across, down] }, image) {
  const { cells, width } = pixelsOf(mask);
  return drawn(across, down, (context) => {
    context.drawImage(image, -left, -top);
    const pixels = context.getImageData(0, 0, across, down);
    for (let i = 0; i < across * down; i++) if (!cells[(top + Math.floor(i / across)) * width + left + (i % across)]) pixels.data[4 * i + 3] = 0;
    context.putImageData(pixels, 0, 0);
  });
}
