// What the page knows, and the question that follows from it.

import { said } from "/playground/examples.js";
import { $ } from "/playground/page.js";

export const state = {
  mode: "picture", // or "video"
  picture: null, // {file, id, width, height, image}
  clip: null, // {name}
  frame: null, // of the clip, the one that the answer is about; as a picture
  words: [], // {name, synonyms, examples, negatives}
  prompts: [], // {points, box}
  answer: null,
  followed: [], // {number, lost}: objects of the clip
  begun: false, // whether the next point is of the last object
  models: [], // cards
};

export function question() {
  const asked = named();
  if (state.prompts.length && state.mode === "picture") asked.prompts = state.prompts;
  else asked.task = $("task").value;
  return { ...asked, ...manner() };
}

/** What is looked for, or what objects are labelled with. */
export function named() {
  const background = $("background").checked;
  if ($("vocabulary").value) return { vocabulary: $("vocabulary").value, background };
  if (!state.words.length) return {};
  return { classes: state.words.map((word) => said(background ? word : whole(word))), background };
}

/** Where every pixel gets a class no threshold drops any. */
function whole({ threshold, ...word }) {
  return word;
}

/** What the answer is about. */
export function subject() {
  return state.mode === "video" ? state.frame : state.picture;
}

/** What holds for every question: by which model, how refined. */
export function manner() {
  const asked = {};
  if ($("model").value) asked.model = $("model").value;
  if ($("refine").value) asked.refine = $("refine").value;
  return asked;
}

export function askable(asked) {
  return Boolean(asked.classes || asked.vocabulary || asked.prompts || asked.follow || asked.task === "everything");
}

/** Whether the model that is asked cuts out what is clicked on. */
export function takesPrompts() {
  const card = state.models.find((model) => model.name === $("model").value) ?? state.models[0];
  return Boolean(card?.tasks.includes("prompt"));
}
