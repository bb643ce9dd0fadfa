// Preview: what a click would cut out, as an outline, a moment after the pointer has come to rest. It is asked about by
// the picture's id, one question at a time, and dropped when the pointer goes on.

import * as engine from "./engine/server.js";
import { mapOf, polygonsOf } from "./masks.js";
import { $, kept, manner, page, state, takesPrompts } from "./page.js";
import { asking, corrected, correction, withPoint } from "./question.js";
import { view } from "./view.js";

const REST = 180; // milliseconds
const NEAR = 4; // pixels of the screen that a resting hand moves

let at = null;
let resting = 0;
let looking = null;

kept("preview", leave);
page.addEventListener("hover", ({ detail }) => {
  if (!detail) return leave();
  if (at && Math.hypot(detail.x - at.x, detail.y - at.y) * view.zoom <= NEAR) return;
  leave();
  at = detail;
  resting = setTimeout(look, REST);
});
for (const name of ["changed", "answered", "turned"]) page.addEventListener(name, leave);

function leave() {
  clearTimeout(resting);
  looking?.abort();
  at = null;
  delete $("canvas").dataset.outlined;
  if (!view.outline) return;
  view.outline = null;
  view.draw();
}

async function look() {
  // A question goes first; and the last preview's request has ended when the next one starts.
  if (!$("preview").checked || state.mode !== "picture" || !state.picture || !takesPrompts() || asking() || looking) return;
  const point = { ...at, positive: view.adding };
  const one = corrected(point);
  const prompt = one ? correction(one, { points: [point] }) : withPoint({ ...point, positive: true }).at(-1);
  looking = new AbortController();
  try {
    const answer = await engine.hover(state.picture, { prompts: [prompt], ...manner() }, looking.signal);
    looking.signal.throwIfAborted();
    const { mask } = answer.segments.find((one) => !one.mask_index);
    const map = mapOf([mask], mask.size);
    const corners = (ring) => ring.map(([x, y]) => `${x * map.step} ${y * map.step}`);
    view.outline = polygonsOf(map).flat().map((ring) => `M${corners(ring).join("L")}Z`).join("");
    view.draw();
    $("canvas").dataset.outlined = "yes";
  } catch {
    // A preview that does not come is none: nobody has asked a question yet.
  } finally {
    looking = null;
  }
}
