// The question: words as chips, clicks and boxes on the picture, corrections, and the requests for them.

import * as engine from "./engine/server.js";
import {
  $, button, element, emit, modelOptions, offerRetry, page, promptsQuestion, question, refuse, segmentAt, state, swatch, tell, withRetry, wordsQuestion,
} from "./page.js";

const TYPING_PAUSE = 250; // milliseconds after the last change of words; clicks and boxes are sent at once

let waiting = 0;
let running = null;
let known = null; // {picture, text, answer}: cached answer about words, valid while only clicks change
let parts = [null, null]; // displayed answers about words and about clicks
let corrections = []; // {key, mask, area, bbox} of corrected word segments, the newest last

page.addEventListener("changed", ({ detail }) => {
  const { prompts, ...shareable } = question(); // the URL contains neither the picture nor its prompts
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(shareable))}`);
  drawChips();
  showButtons();
  clearTimeout(waiting);
  waiting = 0;
  if (!detail?.atOnce) known = null;
  if (state.mode !== "picture") return;
  if (detail?.atOnce) ask(); // before the next paint
  else waiting = setTimeout(ask, TYPING_PAUSE);
});

export const asking = () => Boolean(waiting || running);

page.addEventListener("turned", stop);

export function stop() {
  running?.abort();
  running = null;
  offerRetry();
}

async function ask() {
  waiting = 0;
  stop();
  const [words, prompts] = [wordsQuestion(), promptsQuestion()];
  if (state.picture && (words || prompts)) return askLatest((signal) => both(words, prompts, signal), answered, ask);
  answered(null);
  tell(state.picture ? "Type a word, click on the picture or drag a box." : "");
}

/** Aborts the running request and starts another; `take` gets the answer, a refusal is shown. */
export async function askLatest(act, take, retry) {
  stop();
  const { signal } = (running = new AbortController());
  const unlessStopped = (then) => (result) => {
    if (signal.aborted) return;
    running = null;
    then(result);
  };
  if (state.mode === "picture") tell("Looking…");
  await withRetry(() => act(signal), signal).then(unlessStopped(take), unlessStopped((problem) => refuse(problem, retry)));
}

/** The combined answer about words and clicks; the answer about words is cached. */
async function both(words, prompts, signal) {
  const { picture } = state;
  const text = JSON.stringify(words);
  if (words && !(known?.picture === picture && known.text === text)) {
    known = { picture, text, answer: await engine.segment(picture, words, signal) };
    if (words.task !== "semantic") corrections = []; // numbers may belong to other objects now
  }
  parts = [words && known.answer, prompts && (await engine.prompt(picture, prompts, signal))];
  return combined(...parts);
}

/** Merges two answers, cut-out or followed objects on top; adds a colour number and a name to every segment. */
export function combined(words, clicked) {
  const base = words ?? clicked;
  const first = (answer) => answer?.segments.filter((one) => !one.mask_index) ?? [];
  const objects = first(clicked).map((one) => {
    const number = one.track_id ?? one.prompt_index + 1;
    return { ...one, task: "prompt", colour: state.words.length + number - 1, name: nameOf(one.label, number, one.track_id) };
  });
  const ofWords = first(words).map((one) => {
    const { id, label, track_id: number } = one;
    const isClass = words.task === "semantic"; // its key is stable across answers about the picture
    const key = isClass ? label : `${label} ${id}`;
    return {
      ...one,
      ...corrections.findLast((each) => each.key === key),
      key,
      task: words.task,
      // A class has the colour of its word, an object a colour that no word has.
      colour: isClass ? one.class_index : state.words.length + state.prompts.length + (number ?? id),
      name: nameOf(label, id, isClass ? null : number),
    };
  });
  return {
    ...base,
    absent: words?.absent ?? [],
    warnings: [words, clicked].flatMap((answer) => answer?.warnings ?? []),
    timings_ms: (clicked ?? words).timings_ms,
    segments: [...objects, ...ofWords],
  };
}

/** A label, with the object's number in a clip. */
export function nameOf(label, number, track) {
  if (label == null) return `object ${number}`;
  return track == null ? label : `${label} ${track}`;
}

function answered(answer) {
  state.answer = answer;
  if (state.correcting && !answer?.segments.some((one) => one.key === state.correcting)) endCorrecting();
  emit("answered");
}

function drawChips() {
  const list = $("vocabulary").value; // replaces the words
  $("listed").textContent = list && `The list ${list} is asked, and not your words; adding a word ends that.`;
  const absent = new Set(state.answer?.absent ?? []);
  const chips = state.words.map((word, index) => {
    const remove = () => {
      keep(state.words.filter((other) => other !== word));
      $("word").focus();
    };
    const cross = button("×", remove, { ariaLabel: `without ${word.name}` });
    return element("li", { className: absent.has(word.name) ? "absent" : "" }, swatch(index), titleOf(word), cross);
  });
  $("chips").replaceChildren(...chips);
}

function titleOf({ name, synonyms, examples, negatives }) {
  const counted = (some, what) => (some?.length ? [`${some.length} ${what}${some.length > 1 ? "s" : ""}`] : []);
  const counts = [...counted(examples, "example"), ...counted(negatives, "counter-example")];
  return [name, ...(synonyms ?? [])].join(" | ") + (counts.length ? ` (${counts.join(", ")})` : "");
}

/** Adds comma-separated words: `sofa|couch, dog` are two, the first with a synonym. Case-insensitive. */
export function addWords(text) {
  const once = (word, index, all) => all.findIndex((other) => other.toLowerCase() === word.toLowerCase()) === index;
  const spellings = text.split(",").map((word) => word.split("|").map((part) => part.trim()).filter(Boolean).filter(once));
  const words = spellings.filter(([name]) => name).map(([name, ...synonyms]) => ({ name, synonyms }));
  const known = new Set(state.words.map(({ name }) => name.toLowerCase()));
  const fresh = words.filter(({ name }) => !known.has(name.toLowerCase()) && known.add(name.toLowerCase()));
  if (fresh.length) {
    $("vocabulary").value = "";
    keep([...state.words, ...fresh]);
    $("chips").scrollTop = $("chips").scrollHeight;
  } else if (words.length) tell(`${words.map(({ name }) => name).join(", ")}: asked for already.`);
}

function keep(words) {
  state.words = words;
  emit("changed");
}

page.addEventListener("answered", drawChips);
$("words").addEventListener("submit", () => {
  addWords($("word").value);
  $("word").value = "";
});
// A pasted list has one word a line; a single-line input would join them into one word.
$("word").addEventListener("paste", (event) => {
  const lines = event.clipboardData.getData("text").split(/[\r\n\t]+/).map((line) => line.trim()).filter(Boolean);
  if (lines.length < 2) return;
  event.preventDefault();
  document.execCommand("insertText", false, lines.join(", "));
});
$("word").addEventListener("keydown", (event) => {
  if (event.key === "Backspace" && !$("word").value && state.words.length) keep(state.words.slice(0, -1));
});

// Corrections of word segments: a click or a box adds to the mask or removes from it; label and number stay.

/** The prompt that corrects a segment of the answer. */
export const correction = ({ mask: { size, counts } }, prompt) => ({ mask: { size, counts }, ...prompt });

function correct(one, prompt) {
  const question = { prompts: [correction(one, prompt)], ...modelOptions() };
  const take = ({ segments: [{ mask, area, bbox }], warnings }) => {
    corrections.push({ key: one.key, mask, area, bbox });
    answered({ ...combined(...parts), warnings: [...state.answer.warnings, ...warnings] });
  };
  askLatest((signal) => engine.prompt(state.picture, question, signal), take, () => correct(one, prompt));
}

function undoCorrection() {
  const last = corrections.findLastIndex(({ key }) => key === state.correcting);
  if (last < 0) return tell("Nothing of this segment has been corrected.");
  corrections.splice(last, 1);
  answered(combined(...parts));
}

function endCorrecting() {
  state.correcting = null;
  emit("correcting");
}

/** The segment that a point or a box corrects: the chosen one; else, for a negative point without a prompt, the one below it. */
export function corrected(point) {
  if (state.correcting) return state.answer?.segments.find((one) => one.key === state.correcting);
  const one = !point.positive && !(state.begun && state.prompts.length) && segmentAt(point);
  return one && one.key ? one : null;
}

page.addEventListener("pictured", () => (corrections = []));
page.addEventListener("correcting", () => {
  $("corrected").textContent = state.answer?.segments.find((one) => one.key === state.correcting)?.name ?? "";
  if (state.correcting) $("canvas").focus();
});
$("done").addEventListener("click", endCorrecting);
$("uncorrect").addEventListener("click", undoCorrection);

let past = []; // undo history of `state.prompts`
page.addEventListener("shown", ({ detail: { box, ...point } }) => {
  if (state.mode !== "picture") return; // in a clip, video.js starts an object
  const one = corrected(point);
  if (one) return correct(one, box && point.positive ? { box } : { points: [point] });
  const prompts = box ? [...state.prompts, { box }] : withPoint(point);
  if (!prompts) return tell("A point beside the object needs one on it first.");
  past.push(state.prompts);
  state.prompts = prompts;
  state.begun = true;
  emit("changed", { atOnce: true });
});
const ofCorrections = { undo: undoCorrection, clear: endCorrecting };
for (const [name, act] of Object.entries({ next, undo, clear })) {
  page.addEventListener(name, () => state.mode === "picture" && ((state.correcting && ofCorrections[name]) || act)());
  $(name).addEventListener("click", act);
}
$("example").addEventListener("click", () => example("examples"));
$("negative").addEventListener("click", () => example("negatives"));
page.addEventListener("pictured", clear);

/** Shows the buttons while there are prompts; a hidden button passes its focus to the picture. */
function showButtons() {
  const idle = state.mode !== "picture" || !state.prompts.length;
  if (idle && document.activeElement?.closest("#pointing, #showing")) $("canvas").focus();
  $("pointing").hidden = idle;
  $("next").disabled = !state.begun;
}

function clear() {
  past = [];
  undo();
}

function undo() {
  state.prompts = past.pop() ?? [];
  emit("changed", { atOnce: true });
}

function next() {
  state.begun = false;
  $("next").disabled = true;
  $("canvas").focus();
  tell("Click on the next object, or drag a box around it.");
}

/** Makes the last prompt an example (or a counter-example) of the class named in the word field. */
async function example(kind) {
  const last = state.prompts.at(-1);
  if (!last) return;
  const byExample = state.words.filter((word) => word.examples?.length);
  const written = $("word").value.trim();
  const name = written || (kind === "examples" ? `class ${state.words.length + 1}` : byExample.at(-1)?.name);
  if (kind === "negatives" && !byExample.some((word) => word.name === name)) {
    return tell("First show what the class is: what it is not counts beside examples.");
  }
  const region = await engine.examples(state.picture, last);
  if (!region) return;
  const word = state.words.find((one) => one.name === name) ?? { name, synonyms: [] };
  const shown = { ...word, [kind]: [...(word[kind] ?? []), region] };
  state.words = state.words.includes(word) ? state.words.map((one) => (one === word ? shown : one)) : [...state.words, shown];
  $("word").value = "";
  $("vocabulary").value = "";
  clear();
}

/** The prompts after a click; null for a negative point without a prompt that it could refine. */
export function withPoint(point) {
  const last = state.prompts.at(-1);
  if (last && state.begun) return [...state.prompts.slice(0, -1), { ...last, points: [...(last.points ?? []), point] }];
  return point.positive ? [...state.prompts, { points: [point] }] : null;
}
