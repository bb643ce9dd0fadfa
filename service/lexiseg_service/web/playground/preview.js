// Preview: what a click would cut out, as an outline, a moment after the pointer has come to rest. It is asked about by
// the picture's id, one question at a time, and dropped when the pointer goes on.

import { paint } from "./answer.js";
import * as engine from "./engine/server.js";
import { $, kept, manner, page, state, takesPrompts } from "./page.js";
import { asking, corrected, correction, withPoint } from "./question.js";

const REST = 180; // milliseconds
const NEAR = 4; // pixels of the screen that a resting hand moves

/** Draws previews on that view, for its `hover` events. */
export function previewOn(view) {
  let at = null;
  let resting = 0;
  let looking = null;
  let turn = 0;

  kept("preview", leave);
  view.addEventListener("hover", ({ detail }) => {
    if (!detail) return leave();
    if (at && Math.hypot(detail.x - at.x, detail.y - at.y) * view.zoom <= NEAR) return;
    leave();
    at = detail;
    resting = setTimeout(look, REST);
  });
  for (const name of ["changed", "answered", "turned"]) page.addEventListener(name, leave);
  page.addEventListener("outline", ({ detail }) => {
    if (detail.turn !== turn) return;
    view.outline = detail.bitmap;
    view.draw();
    $("canvas").dataset.outlined = String(turn);
  });

  function leave() {
    clearTimeout(resting);
    looking?.abort();
    at = null;
    turn += 1;
    delete $("canvas").dataset.outlined;
    if (!view.outline) return;
    view.outline = null;
    view.draw();
  }

  async function look() {
    // A question goes first; and the last preview's request has ended when the next one starts.
    if (!$("preview").checked || state.mode !== "picture" || !state.picture || !takesPrompts() || asking() || looking) return;
    const one = corrected(at, view.adding);
    const point = { x: at.x, y: at.y, positive: view.adding };
    const prompt = one ? correction(one, { points: [point] }) : withPoint({ ...point, positive: true }).at(-1);
    const control = new AbortController();
    const mine = turn;
    looking = control;
    try {
      const answer = await engine.hover(state.picture, { prompts: [prompt], ...manner() }, control.signal);
      const [height, width] = answer.size;
      const best = answer.segments.find((one) => !one.mask_index);
      const thick = (1.5 * window.devicePixelRatio) / view.zoom; // pixels of the picture
      if (best && mine === turn) paint({ kind: "outline", turn, width, height, mask: best.mask, thick });
    } catch {
      // A preview that does not come is none: nobody has asked a question yet.
    } finally {
      looking = null;
    }
  }
}
