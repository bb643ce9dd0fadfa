// Preview: what a click would cut out, as an outline, a moment after the pointer has come to rest. It is asked about by
// the picture's id, one question at a time, and dropped when the pointer goes on.

import * as engine from "./engine/server.js";
import { mapOf, polygonsOf } from "./masks.js";
import { $, modelOptions, page, persist, state, takesPrompts } from "./page.js";
import { asking, corrected, correction, withPoint } from "./question.js";
import { view } from "./view.js";

const REST = 180; // milliseconds
const NEAR = 4; // pixels of the screen that a resting hand moves

let at = null;
let resting = 0;
let request = null;

persist("preview", hide);
page.addEventListener("hover", ({ detail }) => {
  if (!detail) return hide();
  if (at && Math.hypot(detail.x - at.x, detail.y - at.y) * view.zoom <= NEAR) return;
  hide();
  at = detail;
  resting = setTimeout(preview, REST);
});
for (const name of ["changed", "answered", "turned"]) page.addEventListener(name, hide);

function hide() {
  clearTimeout(resting);
  request?.abort();
  at = null;
  delete $("canvas").dataset.outlined;
  if (!view.outline) return;
  view.outline = null;
  view.draw();
}

async function preview() {
  // A question goes first; and the last preview's request has ended when the next one starts.
  if (!$("preview").checked || state.mode !== "picture" || !state.picture || !takesPrompts() || asking() || request) return;
  const point = { ...at, positive: view.adding };
  const one = corrected(point);
  const prompt = one ? correction(one, { points: [point] }) : withPoint({ ...point, positive: true }).at(-1);
  request = new AbortController();
  try {
    const answer = await engine.hover(state.picture, { prompts: [prompt], ...modelOptions() }, request.signal);
    request.signal.throwIfAborted();
    const { mask } = answer.segments.find((one) => !one.mask_index);
    const map = mapOf([mask], mask.size);
    const corners = (ring) => ring.map(([x, y]) => `${x * map.step} ${y * map.step}`);
    view.outline = polygonsOf(map).flat().map((ring) => `M${corners(ring).join("L")}Z`).join("");
    view.draw();
    $("canvas").dataset.outlined = "yes";
  } catch {
    // A preview that does not come is none: nobody has asked a question yet.
  } finally {
    request = null;
  }
}
