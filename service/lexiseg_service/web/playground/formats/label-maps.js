// Label maps: gray PNG files, 1 + the category of each pixel.

import { GRAY, png } from "./png.js";
import { mapOf } from "../masks/runs.js";

const MAX_8_BIT = 254; // classes
export const BACKGROUND = "background";

/** The number of the segment on top at each pixel, 0 elsewhere. */
export const numbersOf = ({ segments, size }, numberOf) => mapOf(segments.map((one) => [numberOf(one), one.mask]), size, 1);

export function* labelMaps({ pictures, classes, categories }) {
  for (const picture of pictures) {
    yield [`label-maps/${picture.base}.png`, () => {
      const { cells, ...size } = numbersOf(picture, ({ category }) => category + 1);
      return png(size, GRAY, classes.length < MAX_8_BIT ? Uint8Array.from(cells) : cells);
    }];
  }
  yield ["label-maps/classes.json", () => JSON.stringify({ ...[BACKGROUND, ...categories] }, null, 1)];
}
