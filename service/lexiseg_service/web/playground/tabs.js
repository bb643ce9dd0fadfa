// Two tabs, a picture and a video, with one stage between them.

import { $, happened, tell } from "/playground/page.js";
import { state } from "/playground/state.js";

const MODES = ["picture", "video"];

/** To the other tab, or to this one with something else on it; tells `turned`. */
export function turnTo(mode) {
  state.mode = mode;
  const image = mode === "picture" ? state.picture : state.clip;
  for (const one of MODES) {
    $(`tab-${one}`).ariaSelected = String(one === mode);
    $(`tab-${one}`).tabIndex = one === mode ? 0 : -1;
  }
  const stood = ["empty", "no-clip"].some((id) => $(id).contains(document.activeElement));
  $("stage").setAttribute("aria-labelledby", `tab-${mode}`);
  $("empty").hidden = mode !== "picture" || Boolean(image);
  $("no-clip").hidden = mode !== "video" || Boolean(image);
  $("canvas").hidden = !image;
  $("player").hidden = mode !== "video" || !image;
  $("another").hidden = !image;
  if (stood && image) $("canvas").focus(); // what was pressed is gone
  state.answer = null;
  tell("");
  happened("answered");
  happened("turned");
  happened("changed");
}

for (const mode of MODES) $(`tab-${mode}`).addEventListener("click", () => state.mode !== mode && turnTo(mode));
$("tabs").addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow")) return;
  turnTo(MODES[1 - MODES.indexOf(state.mode)]);
  $(`tab-${state.mode}`).focus();
  event.preventDefault();
});
