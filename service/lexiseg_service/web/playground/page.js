// The page's elements, its events, what it knows, and the questions that follow from it.

/**
 * Events: `changed` (the question; `{atOnce: true}` where a pause would only delay the answer), `answered`, `mapped` (the
 * segment of each pixel is known, too), `pictured` (another picture), `turned` (another tab) and `correcting` (another
 * segment).
 */
export const page = /** @type {any} */ (new EventTarget());

/** @type {(id: string) => any} an element of any kind */
export const $ = (id) => document.getElementById(id);

/** @param {string} name @param {{atOnce: boolean}} [detail] */
export function happened(name, detail) {
  page.dispatchEvent(new CustomEvent(name, { detail }));
}

export function tell(text, wrong = false) {
  if ($("result").textContent !== text) $("result").textContent = text; // a screen reader reads it once
  $("result").classList.toggle("wrong", wrong);
}

/** @returns {any} what has the focus */
export function focusedElement() {
  return document.activeElement;
}

/** @returns {any} an element with these properties and children */
export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** @type {Record<string, any>} */
export const state = {
  mode: "picture", // or "video"
  picture: null, // {file, id, width, height, image}
  clip: null, // {name}
  frame: null, // the frame of the clip that the answer is about, as a picture
  words: [], // {name, synonyms, examples, negatives, threshold}
  prompts: [], // {points, box}
  begun: false, // whether the next point belongs to the last prompt
  answer: null,
  correcting: null, // key of the segment that clicks correct
  followed: [], // {number, lost, label}: objects of the clip
  models: [], // cards
};

/** The question about words, or null where there are none and the task needs some. */
export function wordsQuestion() {
  /** @type {Record<string, any>} */
  const asked = { ...named(), task: task(), ...manner() };
  return asked.classes || asked.vocabulary || asked.task === "everything" ? asked : null;
}

/** The question about clicks and boxes, or null. */
export function promptsQuestion() {
  return state.prompts.length ? { ...named(), prompts: state.prompts, ...manner() } : null;
}

/** The question as a program would ask it. @returns {any} */
export function question() {
  return (state.mode === "picture" && promptsQuestion()) || wordsQuestion() || { task: task(), ...manner() };
}

/** What is looked for; what objects are labelled with. @returns {Record<string, any>} */
export function named() {
  const background = $("background").checked;
  if ($("vocabulary").value) return { vocabulary: $("vocabulary").value, background };
  if (!state.words.length) return {};
  return { classes: state.words.map((word) => entryOf(background ? word : withoutThreshold(word))), background };
}

/** A word as an entry of `classes`. */
export function entryOf({ name, synonyms, examples, negatives, threshold }) {
  /** @type {Record<string, any>} */
  const more = {
    ...(synonyms.length && { synonyms }),
    ...(examples?.length && { examples }),
    ...(negatives?.length && { negatives }),
    ...(threshold && { threshold }),
  };
  return Object.keys(more).length ? { name, ...more } : name;
}

/** Where every pixel gets a class no threshold drops any. @param {Record<string, any>} word */
function withoutThreshold({ threshold, ...word }) {
  return word;
}

/** The picture or frame that the answer is about. */
export function subject() {
  return state.mode === "video" ? state.frame : state.picture;
}

/** Fields of every question: model and refinement. @returns {Record<string, any>} */
export function manner() {
  const asked = {};
  if ($("model").value) asked.model = $("model").value;
  if ($("refine").value) asked.refine = $("refine").value;
  return asked;
}

/** The radio buttons of the task. */
export function tasks() {
  return $("tasks").elements.namedItem("task");
}

export function task() {
  return tasks().value;
}

/** The card of the chosen model. */
export function card() {
  return state.models.find((model) => model.name === $("model").value) ?? state.models[0];
}

export function takesPrompts() {
  return Boolean(card()?.tasks.includes("prompt"));
}
