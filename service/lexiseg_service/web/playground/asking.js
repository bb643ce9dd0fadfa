// Asking about the picture, one question at a time.

import { Problem, segment } from "/playground/api.js";
import { patiently, withdraw, wordsOf } from "/playground/busy.js";
import { remember } from "/playground/leaving.js";
import { $, happened, page, tell } from "/playground/page.js";
import { askable, question, state } from "/playground/state.js";

const TYPING_PAUSE = 250; // milliseconds after the last change of words; a click or a box is asked about at once

let waiting = 0;
let running = null;

page.addEventListener("changed", ({ detail }) => {
  remember(question());
  clearTimeout(waiting);
  waiting = state.mode === "picture" ? setTimeout(ask, detail?.atOnce ? 0 : TYPING_PAUSE) : 0;
  if (state.mode !== "picture") stop();
});

/** Whether a question is on its way, or about to be. */
export function asking() {
  return Boolean(waiting || running);
}

function stop() {
  running?.abort();
  running = null;
  withdraw();
}

async function ask() {
  waiting = 0;
  stop();
  const asked = question();
  if (!state.picture || !askable(asked)) {
    answered(null);
    tell(state.picture ? "Type a word, click on the picture or drag a box." : "");
    return;
  }
  const control = new AbortController();
  running = control;
  tell("Looking…");
  try {
    const answer = await patiently(() => segment(state.picture, asked, control.signal), control.signal);
    if (running !== control) return;
    running = null;
    answered(answer, asked);
  } catch (problem) {
    if (problem.name === "AbortError" || running !== control) return;
    running = null;
    refuse(problem);
  }
}

function answered(answer, asked) {
  state.answer = answer && { ...answer, asked, segments: answer.segments.filter((one) => !one.mask_index) };
  happened("answered");
}

/** Says what the service refuses; nothing is shown then. */
export function refuse(problem, again = ask) {
  answered(null);
  if (!(problem instanceof Problem)) throw problem;
  tell(wordsOf(problem, again), true);
  if (problem.status !== 401) return;
  $("more").open = true;
  $("key").focus();
}
