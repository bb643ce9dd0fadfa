// The segments of a picture: what words found, what was cut out or painted, and the history of all changes.
//
// Documents are replaced and never changed: a step of the history is a reference, so that undo is exact to the pixel. A
// segment keeps the labels of the words that it was made of (`origins`) and, unless it was painted on, its `prompt`.

import { encoded, overlapOf, parts, pixelsIn, stroked } from "./masks.js";
import { emit, page, restore, settings, state, tell } from "./page.js";

const SAME = 0.5; // IoU from which an object of a new answer is one that was edited before
const CRUMB = 0.01; // share of a mask; smaller parts are not split off
export const NO_WORDS = "null"; // the question that an empty document answers

/** `asked`: the question about words, as JSON; `answer`: all but the segments of the answer to it. */
export const EMPTY = { segments: [], asked: NO_WORDS, answer: null, notes: [], isReviewed: false };

let last = { picture: null, settings: null, text: "" }; // of the newest step

/** Appends a step to a picture's history; `alter` may change the words within it. */
export function change(picture, doc, alter = () => null) {
  picture.past.push({ doc: picture.doc, settings: settings() });
  picture.future = [];
  alter();
  last = stepOf();
  settle(picture, doc);
}

const stepOf = () => ({ picture: state.picture, settings: settings(), text: JSON.stringify(settings()) });

/** Replaces the document within the newest step. */
export function settle(picture, doc) {
  picture.doc = doc;
  emit("edited", picture);
}

page.addEventListener("changed", () => {
  const now = stepOf();
  if (now.picture && now.picture === last.picture && now.text !== last.text) {
    const { past, doc } = now.picture;
    past.push({ doc, settings: last.settings });
    Object.assign(now.picture, { future: [], doc: { ...doc, isReviewed: false } });
  }
  last = now;
});

/** Takes the newest step back, or with ("future", "past") makes it again. */
export function undo(from = "past", to = "future") {
  const { picture } = state;
  const step = picture?.[from].pop();
  if (!step) return tell(from === "past" ? "There is nothing to undo." : "There is nothing to redo.");
  picture[to].push({ doc: picture.doc, settings: settings() });
  restore(step.settings);
  last = stepOf();
  settle(picture, step.doc);
  emit("changed", { atOnce: true }); // the words of that step may still have to be asked
}

export const segmentOf = (doc, number) => doc.segments.find((one) => one.number === number && !one.isGone);

/** The segments of an answer, without alternatives. */
export const firstOf = (answer) => answer?.segments.filter((one) => !one.mask_index) ?? [];

/** Gives new segments the lowest numbers that no segment has. */
function numbered(segments, fresh) {
  const taken = new Set(segments.map(({ number }) => number));
  const numbers = Array.from({ length: taken.size + fresh.length }, (_, index) => index + 1);
  const free = numbers.filter((number) => !taken.has(number));
  return fresh.map((one, index) => ({ ...one, number: free[index] }));
}

/**
 * The document with the answer to a question about words, null for none: edited segments take the places of those that they
 * were made of. `about`: an answer that tells model and time in its place.
 */
export function withWords(doc, question, answer, about = answer) {
  const classes = question?.classes?.map((one) => one.name ?? one);
  const isAsked = (name) => name === null || !classes || classes.includes(name);
  const kept = doc.segments.filter(({ origins, isEdited }) => !origins || (question && isEdited && origins.some(isAsked)));
  const isSame = (old, one) => {
    if (one.task === "semantic") return old.task === "semantic" && old.origins?.includes(one.label);
    return overlapOf(old, one) >= SAME;
  };
  const left = new Set(kept.filter(({ origins }) => origins));
  const fresh = firstOf(answer).map((one) => ({ ...one, task: question.task, origins: [one.label] }));
  const named = numbered(kept, fresh).flatMap((one) => {
    const old = kept.find((each) => isSame(each, one));
    return old ? (left.delete(old) ? [old] : []) : [one];
  });
  const segments = [...kept.filter(({ origins }) => !origins), ...left, ...named];
  const { segments: _, ...rest } = about ?? {};
  const { absent, warnings } = answer ?? { absent: [], warnings: [] };
  return { ...doc, segments, notes: [], asked: JSON.stringify(question), answer: { ...rest, absent, warnings } };
}

/** Adds a segment in front of those of words; `number` is its own afterwards. */
export function withNew(doc, one) {
  const [fresh] = numbered(doc.segments, [one]);
  const at = doc.segments.findIndex(({ origins }) => origins);
  return [{ ...doc, segments: doc.segments.toSpliced(at < 0 ? doc.segments.length : at, 0, fresh) }, fresh.number];
}

/** Adds what a click cut out; where a word found nearly the same, it refines that. */
export function withObject(doc, one, isClick) {
  const known = isClick && doc.segments.find((old) => old.origins && !old.isGone && overlapOf(old, one) >= SAME);
  const [next, number] = withNew(doc, one);
  return known ? [merged(next, known, segmentOf(next, number)), known.number] : [next, number];
}

/** Replaces fields of the segment with a number; one without pixels is gone. */
export function withFields(doc, number, fields) {
  const isGone = fields.area === 0 || fields.isGone;
  const segments = doc.segments.flatMap((one) => {
    if (one.number !== number) return [one];
    // What a word found stays as a mark: the next answer must not bring it back.
    return isGone && !one.origins ? [] : [{ ...one, ...fields, isEdited: true, isGone }];
  });
  return { ...doc, segments };
}

/** Fields of a mask after a stroke {points, radius, adds}; `one`: the segment, or null for an empty mask. */
export function afterStroke(one, size, stroke) {
  const pixels = pixelsIn(size, one ? [one.mask] : []);
  stroked(pixels, size, stroke.points, stroke.radius, stroke.adds ? 1 : 0);
  return { ...encoded(pixels, 2, size)[1], prompt: undefined };
}

/** One segment of two: the first keeps its label. */
export function merged(doc, one, other) {
  const pixels = pixelsIn(one.mask.size, [one.mask, other.mask]);
  const origins = (one.origins || other.origins) && [...(one.origins ?? []), ...(other.origins ?? [])];
  const whole = { ...encoded(pixels, 2, one.mask.size)[1], origins, prompt: undefined };
  return withFields(withFields(doc, one.number, whole), other.number, { isGone: true });
}

/** A segment for each connected part, the largest under the old number with all crumbs; null if there is one part only. */
export function split(doc, one) {
  const { ids, owner, areas } = parts(pixelsIn(one.mask.size, [one.mask]), one.mask.size[0]); // of columns, as if they were rows
  const large = [...owner.keys()].filter((id) => owner[id] && areas[id] >= CRUMB * one.area).sort((a, b) => areas[b] - areas[a]);
  if (large.length < 2) return null;
  const places = owner.map((isInside, id) => (isInside ? Math.max(0, large.indexOf(id)) : large.length));
  const [first, ...others] = encoded(ids.map((id) => places[id]), large.length, one.mask.size);
  const whole = withFields(doc, one.number, { ...first, prompt: undefined });
  const at = whole.segments.findIndex(({ number }) => number === one.number);
  const fresh = others.map((part) => ({ ...whole.segments[at], ...part }));
  return { ...whole, segments: whole.segments.toSpliced(at + 1, 0, ...numbered(doc.segments, fresh)) };
}
