// Preview: the outline of what a click would cut out, shown when the pointer rests. One request at a time, aborted when the pointer moves on.

import { firstOf } from "./document.js";
import * as engine from "./engine/server.js";
import { polygonsOf } from "./masks/kernel.js";
import { $, modelOptions, page, persist, state, takesPrompts } from "./page.js";
import { asking, promptOf, targetOf } from "./question.js";
import { view } from "./view.js";

const REST = 180; // milliseconds
const NEAR = 4; // screen pixels; smaller movements do not count

let [at, resting, request] = /** @type {any[]} */ ([null, 0, null]); // a pixel, a timer, an AbortController

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
  // Questions take precedence; a preview starts only after the last one's request has ended.
  if (!$("preview").checked || view.brush || state.mode !== "picture" || !state.picture || !takesPrompts() || asking() || request) return;
  const point = { ...at, positive: view.adding };
  const one = targetOf(state.picture, point, state.chosen);
  const prompt = promptOf(one, { ...point, positive: one ? point.positive : true });
  request = new AbortController();
  const { signal } = request;
  const answered = engine.prompt(state.picture, { prompts: [prompt], ...modelOptions() }, signal, () => null);
  const [segment] = firstOf(await answered.catch(() => null)); // a failure is not told: the visitor has asked for nothing
  request = null;
  if (!segment || signal.aborted) return;
  view.outline = polygonsOf(segment.mask).flat().map((ring) => `M${ring.join("L")}Z`).join("");
  view.draw();
  $("canvas").dataset.outlined = "yes";
}
