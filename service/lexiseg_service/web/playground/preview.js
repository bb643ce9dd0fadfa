// What a click would cut out, as an outline, a moment after the pointer has come to rest. It is asked for under the
// picture's id where the service has the picture already; one question at a time, dropped when the pointer goes on.

import { segment } from "/playground/api.js";
import { asking } from "/playground/asking.js";
import { $, page } from "/playground/page.js";
import { withPoint } from "/playground/prompts.js";
import { manner, state, takesPrompts } from "/playground/state.js";

const REST = 180; // milliseconds
const NEAR = 4; // pixels of the screen that a resting hand moves
const KEPT = "lexiseg-preview";

/** Draws previews on that view, for what its `hover` says. */
export function previewOn(view) {
  const outliner = new Worker("/playground/painter.js", { type: "module" });
  let at = null;
  let resting = 0;
  let running = null;
  let turn = 0;

  $("preview").checked = localStorage.getItem(KEPT) !== "off";
  $("preview").addEventListener("change", () => {
    localStorage.setItem(KEPT, $("preview").checked ? "on" : "off");
    leave();
  });
  view.addEventListener("hover", ({ detail }) => {
    if (!detail) return leave();
    if (at && Math.hypot(detail.x - at.x, detail.y - at.y) * view.zoom <= NEAR) return;
    leave();
    at = detail;
    resting = setTimeout(look, REST);
  });
  for (const name of ["changed", "answered", "turned"]) page.addEventListener(name, leave);
  outliner.onmessage = ({ data }) => {
    if (data.turn !== turn) return;
    view.outline = data.bitmap;
    view.draw();
    $("canvas").dataset.outlined = String(turn);
  };

  function leave() {
    clearTimeout(resting);
    running?.abort();
    at = null;
    turn += 1;
    delete $("canvas").dataset.outlined;
    if (!view.outline) return;
    view.outline = null;
    view.draw();
  }

  async function look() {
    // What somebody asked for goes first; and the one before has gone when its turn is over.
    if (!$("preview").checked || state.mode !== "picture" || !state.picture || !takesPrompts() || asking() || running) return;
    const prompt = withPoint({ x: at.x, y: at.y, positive: true }).at(-1);
    const control = new AbortController();
    const mine = turn;
    running = control;
    try {
      const answer = await segment(state.picture, { prompts: [prompt], ...manner() }, control.signal);
      const [height, width] = answer.size;
      const best = answer.segments.find((one) => !one.mask_index);
      const thick = (1.5 * (window.devicePixelRatio || 1)) / view.zoom; // pixels of the picture
      if (best && mine === turn) outliner.postMessage({ kind: "outline", turn, width, height, mask: best.mask, thick });
    } catch {
      // A preview that does not come is none: nobody has asked a question yet.
    } finally {
      running = null;
    }
  }
}
