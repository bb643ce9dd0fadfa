// Points and boxes on the picture, and what they show as an example of a class.

import { withExample } from "/playground/examples.js";
import { $, happened, page, tell } from "/playground/page.js";
import { state } from "/playground/state.js";
import { drawChips } from "/playground/words.js";

/** Hears of clicks and boxes on that view, and draws them there. */
export function promptOn(view) {
  view.addEventListener("point", ({ detail }) => {
    if (state.mode !== "picture") return; // of a clip they are followed
    const prompts = withPoint(detail);
    if (!prompts) return tell("A point beside the object needs one on it first.");
    begin(prompts);
  });
  view.addEventListener("box", ({ detail }) => {
    if (state.mode === "picture") begin([...state.prompts, { box: detail }]);
  });
  for (const [name, act] of [["next", next], ["undo", undo], ["clear", clear]]) {
    view.addEventListener(name, () => state.mode === "picture" && act());
    $(name).addEventListener("click", act);
  }
  $("example").addEventListener("click", () => example("examples"));
  $("negative").addEventListener("click", () => example("negatives"));
  page.addEventListener("pictured", clear);
  page.addEventListener("turned", buttons);

  /** They are there as long as there is something to do with them; who stood on one goes on at the picture. */
  function buttons() {
    const idle = state.mode !== "picture" || !state.prompts.length;
    if (idle && $("pointing").contains(document.activeElement)) $("canvas").focus();
    $("pointing").hidden = idle;
  }

  function prompted() {
    view.prompts = state.prompts;
    view.draw();
    $("next").disabled = !state.begun;
    buttons();
    happened("changed", { atOnce: true });
  }

  function begin(prompts) {
    state.prompts = prompts;
    state.begun = true;
    prompted();
  }

  function clear() {
    state.prompts = [];
    prompted();
  }

  /** The last point goes, then the box that it corrected. */
  function undo() {
    const last = state.prompts.at(-1);
    if (!last) return;
    const points = last.points?.slice(0, -1) ?? [];
    state.prompts = state.prompts.slice(0, -1);
    if (points.some((point) => point.positive) || (last.points?.length && last.box)) {
      state.prompts = [...state.prompts, { ...(last.box && { box: last.box }), points }];
    }
    prompted();
  }

  /** What the last box or points show becomes an example of the class that the word field names, or of what it is not. */
  function example(kind) {
    const last = state.prompts.at(-1);
    if (!last || !state.picture.id) return;
    const shown = state.words.filter((word) => word.examples?.length);
    const named = $("word").value.trim();
    const name = named || (kind === "examples" ? `class ${state.words.length + 1}` : shown.at(-1)?.name);
    if (kind === "negatives" && !shown.some((word) => word.name === name)) {
      return tell("First show what the class is: what it is not counts beside examples.");
    }
    state.words = withExample(state.words, name, last, state.picture.id, kind);
    $("word").value = "";
    $("vocabulary").value = "";
    drawChips();
    clear();
  }
}

/** The prompts after a click; null where it would say what an object is not that nobody has begun. */
export function withPoint(point) {
  const last = state.prompts.at(-1);
  if (last && state.begun) return [...state.prompts.slice(0, -1), { ...last, points: [...(last.points ?? []), point] }];
  return point.positive ? [...state.prompts, { points: [point] }] : null;
}

/** The next point is of another object. */
function next() {
  state.begun = false;
  $("next").disabled = true;
  $("canvas").focus();
  tell("Click on the next object, or drag a box around it.");
}
