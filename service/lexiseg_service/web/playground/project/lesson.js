// The first lesson: six parts of a photograph, of which two are outlined; accepting these changes the others.

import { afterStroke } from "../document.js";
import { ready as kernel } from "../masks/kernel.js";
import { $, jpegOf, state } from "../page.js";
import { add, labelAll, show } from "./project.js";

const [WIDTH, HEIGHT, COLUMNS] = [384, 453, 3]; // pixels of a picture; pictures in a row of the photograph
const COINS = [ // in the first pictures: x, y, radius
  [[132, 162, 66], [303, 168, 60], [135, 372, 63], [306, 378, 60]],
  [[81, 153, 72], [261, 153, 72], [78, 381, 60], [231, 372, 63]],
];
const NOTES = [
  "The words find no coin in six pictures. In this one all were outlined by hand: press Accept (A), and watch the others.",
  "What one picture taught is found in the others (◐). Here, too, all were outlined by hand: Accept.",
  ...Array(4).fill("Nobody outlined these: two pictures taught what a coin is. Look at those marked ◐; holding V shows them as they were."),
];

/** Adds the pictures, outlines coins in the first ones as a brush does, and asks about all. */
export async function begin(photograph, label) {
  await kernel;
  const whole = await createImageBitmap(photograph, { resizeWidth: COLUMNS * WIDTH, resizeQuality: "high" });
  const pictures = [];
  for (const [i, note] of NOTES.entries()) {
    const image = await createImageBitmap(whole, (i % COLUMNS) * WIDTH, Math.floor(i / COLUMNS) * HEIGHT, WIDTH, HEIGHT);
    const picture = add({ ...(await jpegOf(image, WIDTH, HEIGHT, `coins-${i + 1}.jpg`)), note });
    for (const [x, y, radius] of COINS[i] ?? []) {
      const region = { task: "semantic", label, origins: [label], class_index: 0, score: 1 };
      [picture.doc] = afterStroke(picture, picture.doc.segments[0], { points: [{ x, y }], radius, adds: true }, region);
    }
    pictures.push(picture);
  }
  await Promise.all([labelAll(0, () => pictures.slice(1)), show(pictures[0])]); // the first empties the line that `show` writes
  if (pictures.at(-1).doc.answer) $("note").textContent = state.picture?.note ?? "";
}
