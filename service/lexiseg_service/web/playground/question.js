// The question: words as chips, clicks, boxes and strokes on the picture, and the requests for them.

import { EMPTY, NO_WORDS, afterStroke, change, corrected, firstOf, merged, seen, segmentOf, settle, stacked, undo, withFields, withObject, withWords } from "./document.js";
import * as engine from "./engine/server.js";
import { ready as kernel } from "./masks/kernel.js";
import { holds } from "./masks/runs.js";
import {
  $, button, element, emit, freshWords, modelOptions, named, offerRetry, page, prompted, question, queueOf, refuse, state, swatch, tell, withRetry,
  wordsQuestion,
} from "./page.js";

const TYPING_PAUSE = 250; // milliseconds after the last change of words; clicks and boxes are sent at once

let waiting = 0;
let running = null; // of a clip, or of the question about words

page.addEventListener("changed", ({ detail }) => {
  const { prompts, ...shareable } = question(); // the URL contains neither the picture nor its prompts
  history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(shareable))}`);
  drawChips();
  clearTimeout(waiting);
  waiting = 0;
  if (state.mode !== "picture") return;
  if (detail?.atOnce || (state.picture && isAnswered(state.picture))) ask(); // before the next paint
  else waiting = setTimeout(ask, TYPING_PAUSE);
});

/** Acts after all earlier requests and edits of pictures: what is done while an answer is on its way is neither lost nor overtaken. */
export const inOrder = queueOf(kernel);

export const asking = () => Boolean(waiting || running || inOrder.isBusy());

page.addEventListener("turned", stop);
page.addEventListener("refused", () => (running || inOrder.isBusy(1)) && ($("note").textContent = $("result").textContent)); // an answer to come overwrites it

export function stop() {
  running?.abort();
  running = null;
  offerRetry();
}

/** Asks unless aborted; `take` gets the answer, a refusal is shown. */
async function request(act, take, retry, { signal }) {
  if (signal.aborted) return;
  if (state.mode === "picture") tell("Looking…");
  const unlessAborted = (then) => (result) => {
    if (signal.aborted) return;
    if (running?.signal === signal) running = null;
    then(result);
  };
  await withRetry(() => act(signal), signal).then(unlessAborted(take), unlessAborted((problem) => refuse(problem, retry)));
}

/** Aborts the running request and starts another, as about a clip. */
export function askLatest(act, take, retry) {
  stop();
  return request(act, take, retry, (running = new AbortController()));
}

/** Whether a picture's document has the answer to the page's question; what was reviewed stays as it is. */
const isAnswered = ({ doc }) => doc.isReviewed || JSON.stringify(wordsQuestion()) === doc.asked;

function ask() {
  waiting = 0;
  stop();
  const { picture } = state;
  const words = wordsQuestion();
  if (!picture || isAnswered(picture)) return show();
  const about = { ...named(), ...modelOptions() };
  let cut = [];
  const act = async (signal) => {
    const answer = words && (await engine.segment(picture, words, signal));
    cut = prompted();
    return [answer, cut.length ? await engine.prompt(picture, { ...about, prompts: cut.map(({ prompt }) => prompt) }, signal) : null];
  };
  const take = ([answer, objects]) => {
    const fresh = firstOf(objects);
    const segments = picture.doc.segments.map((one) => {
      const again = fresh[cut.findIndex(({ prompt }) => one.prompt === prompt)] ?? {};
      return { ...one, ...again, label: one.isNamed ? one.label : (again.label ?? one.label) };
    });
    const doc = withWords({ ...picture.doc, segments }, words, answer, answer ?? objects ?? picture.doc.answer);
    if (!picture.doc.isReviewed) settle(picture, { ...doc, notes: objects?.warnings ?? [] }); // else accepted meanwhile, as it was seen
  };
  if (!words && !prompted().length) return take([null, null]);
  const control = (running = new AbortController());
  inOrder(() => request(act, take, ask, control));
}

function withLooks(one) {
  const { label, number, track_id: track } = one;
  const isRegion = one.task === "semantic";
  const word = state.words.findIndex(({ name }) => name === label);
  const colour = isRegion ? (word < 0 ? one.class_index : word) : state.words.length + (track ?? number) - 1;
  return { ...one, colour, name: nameOf(label, number, isRegion ? null : track) };
}

/** An answer that is no document's, ready to be shown: about a frame of a clip, or of another server. */
export function ready(answer, task = answer.task) {
  const segments = firstOf(answer).map((one) => withLooks({ ...one, task, number: one.track_id ?? one.id }));
  return { absent: [], ...answer, warnings: answer.warnings ?? [], segments };
}

/** A label, with the object's number in a clip. */
export function nameOf(label, number, track) {
  if (label == null) return `object ${number}`;
  return track == null ? label : `${label} ${track}`;
}

/** Shows the picture's document as the answer, or one of its earlier ones. */
function show(doc = state.picture?.doc ?? EMPTY) {
  const segments = seen(doc).map(withLooks);
  const isEmpty = doc.asked === NO_WORDS && !segments.length;
  const absent = doc.answer?.absent.filter((name) => !segments.some(({ label }) => label === name)); // by words: it may be cut out
  state.answer = isEmpty ? null : { ...doc.answer, absent, warnings: [...doc.answer.warnings, ...doc.notes], segments };
  if (state.chosen.number && !segments.some(({ number }) => number === state.chosen.number)) choose();
  emit("answered");
  if (!state.answer && state.picture) tell("Type a word, click on the picture or drag a box."); // without a picture a refusal stays
}

page.addEventListener("edited", ({ detail }) => detail === state.picture && state.mode === "picture" && show());

page.addEventListener("compared", ({ detail: isHeld }) => {
  const { before } = state.picture ?? {};
  if (state.mode === "picture" && before) show(isHeld ? before : undefined);
  if (isHeld) tell(before ? "As it was before what was learned or asked last." : "There is no other answer about this picture.");
});

/** Has clicks go to a segment, or to none. */
export function choose(number = null, isLocked = false) {
  state.chosen = { number, isLocked };
  emit("chosen");
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
    return element("li", { className: absent.has(word.name) ? "absent" : "" }, swatch(index), [word.name, ...(word.synonyms ?? [])].join(" | "), cross);
  });
  $("chips").replaceChildren(...chips);
}

/** Adds comma-separated words: `sofa|couch, dog` are two, the first with a synonym. Case-insensitive. */
export function addWords(text) {
  const once = (word, index, all) => all.findIndex((other) => other.toLowerCase() === word.toLowerCase()) === index;
  const spellings = text.split(",").map((word) => word.split("|").map((part) => part.trim()).filter(Boolean).filter(once));
  const words = spellings.filter(([name]) => name).map(([name, ...synonyms]) => ({ name, synonyms }));
  const fresh = freshWords(words);
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
page.addEventListener("answered", () => { // the meanings that the picture shows, and others to take instead
  const senses = $("vocabulary").value ? [] : (state.answer?.senses ?? []).filter((one) => state.words[one.class_index]);
  $("meanings").replaceChildren(...senses.map(({ class_index: index, gloss, others }) => {
    const take = (chosen) => button(chosen || "any meaning", () => keep(state.words.with(index, { ...state.words[index], gloss: chosen })));
    return element("li", {}, `${state.words[index].name}: ${gloss}`, ...(state.words[index].gloss ? [""] : others).map(take));
  }));
});
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

// Clicks, boxes and strokes change the segment below them, or the one that was begun; else they begin another.

/** The segment that a point changes; none for a new one. `chosen`: as it was when the point was made. */
export function targetOf({ doc }, point, chosen) {
  const own = segmentOf(doc, chosen.number);
  if (chosen.isLocked || (own && !point.positive)) return own;
  return stacked(seen(doc)).findLast((one) => holds(one, point)) ?? own;
}

/** The prompt of a click or a box on a segment: its own with one more point, or a correction of its mask. */
export function promptOf(one, point, box) {
  const places = box ? { box } : { points: [point] };
  if (!one) return places;
  if (one.prompt && !box) return { ...one.prompt, points: [...(one.prompt.points ?? []), point] };
  const { size, counts } = one.mask;
  return { mask: { size, counts }, ...(point.positive ? places : { points: [point] }) };
}

const isUnchanged = (one, { area }, point) => area === one?.area && !holds(one, point);
page.addEventListener("shown", ({ detail: { box, ...point } }) => {
  if (state.mode !== "picture") return; // in a clip, video.js starts an object
  const { picture, chosen } = state;
  if (state.isMerging && !box) return inOrder(() => merge(picture, point));
  const waits = { picture, ...(box ? { box } : { points: [point] }) };
  state.pending.push(waits);
  const isBegun = box && !chosen.isLocked && point.positive; // a box is another object
  const about = { ...named(), ...modelOptions() };
  let [one, prompt] = [null, null];
  const act = async (signal) => {
    one = isBegun ? null : targetOf(picture, point, chosen);
    if (!one && !point.positive) return null;
    prompt = promptOf(one, point, box);
    return engine.prompt(picture, { ...(prompt.mask ? modelOptions() : about), prompts: [prompt] }, signal);
  };
  const take = (answer) => {
    if (!answer) return tell("A point beside the object needs one on it first.");
    if (one && !segmentOf(picture.doc, one.number)) return null; // it was deleted meanwhile
    const { segments: _, warnings, ...rest } = answer;
    const [{ mask, area, bbox, label, class_index, score, quality }] = firstOf(answer);
    const doc = { ...picture.doc, answer: picture.doc.answer ?? { ...rest, absent: [], warnings: [] }, notes: warnings };
    const made = { mask, area, bbox };
    const fields = prompt.mask ? corrected(picture.doc, one, made, point) : { ...made, score, quality, prompt };
    const names = one?.isNamed || prompt.mask ? {} : { label, class_index };
    const fresh = { task: "prompt", ...fields, ...names };
    const [next, number] = one ? [withFields(doc, one.number, { ...fields, ...names }), one.number] : withObject(doc, fresh, !box);
    chosen.number = number;
    change(picture, next);
    emit("chosen");
    if (isUnchanged(one, fields, point)) tell("Nothing was added: the model sees no part there, the brush paints it.");
  };
  inOrder(() => request(act, take, () => emit("shown", { box, ...point }), new AbortController())).finally(() => (state.pending = state.pending.filter((each) => each !== waits)));
});

page.addEventListener("stroke", ({ detail }) => {
  if (state.mode !== "picture") return;
  const { picture, chosen } = state;
  inOrder(() => {
    const { doc } = picture;
    const one = segmentOf(doc, chosen.number) ?? targetOf(picture, { ...detail.points[0], positive: true }, chosen);
    if (!one && !detail.adds) return tell("There is nothing to erase here.");
    const fresh = { task: "prompt", label: null, class_index: null, score: 1, quality: null };
    const [next, number] = afterStroke(picture, one, detail, fresh);
    chosen.number = number;
    change(picture, next);
    emit("chosen");
  });
});

function merge(picture, point) {
  const one = segmentOf(picture.doc, state.chosen.number);
  const other = stacked(picture.doc.segments).findLast((each) => each !== one && !each.isGone && holds(each, point));
  state.isMerging = false;
  if (one && other) change(picture, merged(picture.doc, one, other));
  else tell("There is no other segment to merge it with.");
  emit("chosen");
}

page.addEventListener("next", () => {
  if (state.mode !== "picture") return;
  choose();
  $("canvas").focus();
  tell("Click on the next object, or drag a box around it.");
});
page.addEventListener("undo", () => state.mode === "picture" && inOrder(undo));
page.addEventListener("clear", () => state.mode === "picture" && choose());
page.addEventListener("pictured", () => choose());
