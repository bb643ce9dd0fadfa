// The segments of a picture: what words found, what was cut out or painted, and the history of all changes.
// Documents are never changed: a step is a reference. A segment has the labels that it was made of (`origins`) and, unless painted on, its `prompt`.

import { connected, encodedMap, encodedSpans, stroked } from "./masks/kernel.js";
import { holds, overlapOf, paint, pixelsIn, pixelsOf, spansIn, spansOf } from "./masks/runs.js";
import { emit, freshWords, page, restore, settings, state, tell } from "./page.js";

const SAME = 0.5; // IoU from which an object of a new answer is one that was edited before
const UNCHANGED = 0.95; // IoU below which a mask has changed
const CRUMB = 0.01; // share of a mask; smaller parts are not split off
export const NO_WORDS = "null"; // the question that an empty document answers

/** `asked`: the question about words, as JSON; `answer`: all but the segments of the answer to it. */
export const EMPTY = { segments: [], asked: NO_WORDS, answer: null, notes: [], isReviewed: false };

let last = { picture: null, settings: null, text: "" }; // of the newest step

/** Appends a step to a picture's history; all labels of a reviewed picture are asked about from then on. */
export function change(picture, doc) {
  picture.past.push({ doc: picture.doc, settings: settings() });
  picture.future = [];
  const labels = doc.isReviewed ? doc.segments.filter(({ label, isGone }) => label && !isGone) : [];
  state.words = [...state.words, ...freshWords(labels.map(({ label }) => ({ name: label, synonyms: [] })))];
  last = stepOf();
  settle(picture, doc);
}

const stepOf = () => ({ picture: state.picture, settings: settings(), text: JSON.stringify(settings()) });

/** Replaces the document within the newest step; the one `before` answered another question, as with less that was learned, and was looked at. */
export function settle(picture, doc) {
  const before = picture.isChanged && picture !== state.picture ? picture.before : picture.doc;
  if (![doc.asked, NO_WORDS].includes(picture.doc.asked)) {
    const [old, now] = [before, doc].map((one) => seen(one).filter(({ doubtful }) => !doubtful));
    const isSame = (one) => old.some((each) => each.label === one.label && overlapOf(each, one) >= UNCHANGED);
    Object.assign(picture, { before, isChanged: old.length !== now.length || !now.every(isSame) });
  }
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

const isRegion = ({ task }) => ["semantic", "panoptic"].includes(task);
const layerOf = (one) => (isRegion(one) ? -1 : (one.layer ?? 0));
const topOf = ({ segments }) => 1 + Math.max(0, ...segments.map(layerOf));

// Regions share no pixel: what is corrected last takes it from the others. Objects may overlap: what was corrected last is above, else the smaller.
/** Segments in the order in which they are painted: regions, then objects, the last on top. */
export const stacked = (segments) =>
  segments.toSorted((one, other) => layerOf(one) - layerOf(other) || (isRegion(one) ? 0 : other.area - one.area));

export const isSure = ({ isReviewed }, { isGone, doubtful, isEdited }) => !isGone && (!doubtful || isEdited || isReviewed);

/** The segments of a document as they are seen: none doubtful that was edited or accepted, regions without the other objects above them. */
export function seen(doc) {
  const here = doc.segments.filter(({ isGone }) => !isGone).map((one) => (isSure(doc, one) ? { ...one, doubtful: false } : one));
  const objects = here.filter((one) => !isRegion(one) && !one.doubtful);
  return here.map((one) => (isRegion(one) ? without(one, objects) : one)).filter(({ area }) => area);
}

/** Stacked segments for writers that put the smaller one above: without what is covered, where that is another order. */
export function bySize(segments) {
  const objects = segments.filter((one) => !isRegion(one));
  if (objects.every(({ area }, index) => !index || area < objects[index - 1].area)) return segments;
  return segments.map((one, index) => without(one, segments.slice(index + 1))).filter(({ area }) => area);
}

export const segmentOf = (doc, number) => doc.segments.find((one) => one.number === number && !one.isGone);

/** The segments of an answer, without alternatives. */
export const firstOf = (answer) => answer?.segments.filter((one) => !one.mask_index) ?? [];

function numbered(segments, fresh) {
  const last = Math.max(0, ...segments.map(({ number }) => number));
  return fresh.map((one, index) => ({ ...one, number: last + index + 1 }));
}

// `about`: an answer that tells model and time in place of the one to the words.
/** The document with the answer to a question about words, null for none: edited segments take the places of those that they were made of. */
export function withWords(doc, question, answer, about = answer) {
  const classes = question?.classes?.map((one) => one.name ?? one);
  const isAsked = (name) => name === null || !classes || classes.includes(name);
  const kept = doc.segments.filter(({ origins, isEdited }) => !origins || (question && isEdited && origins.some(isAsked)));
  const isSame = (old, one) => {
    if (one.task === "semantic") return old.task === "semantic" && old.origins?.includes(one.label);
    return overlapOf(old, one) >= SAME;
  };
  const left = new Set(kept.filter(({ origins }) => origins));
  const fresh = firstOf(answer).filter(({ label }) => isAsked(label)).map((one) => ({ ...one, task: question.task, origins: [one.label] }));
  const edited = kept.filter((one) => isRegion(one) && !one.isGone);
  const before = new Set(doc.segments.filter((one) => !kept.includes(one)));
  const named = numbered(doc.segments, fresh).flatMap((one) => {
    const old = kept.find((each) => isSame(each, one));
    if (old) return left.delete(old) ? [old] : [];
    const again = [...before].find((each) => each.label === one.label && each.task === one.task && isSame(each, one));
    before.delete(again); // a click that waits for the answer means the same segment by its number
    const rest = isRegion(one) ? without(one, edited) : one;
    return rest.area ? [{ ...rest, number: again?.number ?? one.number }] : [];
  });
  const segments = [...kept.filter(({ origins }) => !origins), ...left, ...named];
  const { segments: _, ...rest } = about ?? {};
  const { absent, warnings } = answer ?? { absent: [], warnings: [] };
  return { ...doc, segments, notes: [], asked: JSON.stringify(question), answer: { ...rest, absent: absent.filter(isAsked), warnings } };
}

/** Adds a segment in front of those of words; `number` is its own afterwards. */
export function withNew(doc, one) {
  const [fresh] = numbered(doc.segments, [{ ...one, layer: topOf(doc) }]);
  const at = doc.segments.findIndex(({ origins }) => origins);
  return [{ ...doc, segments: doc.segments.toSpliced(at < 0 ? doc.segments.length : at, 0, fresh) }, fresh.number];
}

/** Adds what a click cut out; where a word found nearly the same, it refines that. */
export function withObject(doc, one, isClick) {
  const known = isClick && doc.segments.find((old) => old.origins && !old.isGone && overlapOf(old, one) >= SAME);
  return known ? [withFields(doc, known.number, corrected(doc, known, one)), known.number] : withNew(doc, one);
}

/** The mask of a segment after a correction, `made`; of other labels it takes pixels only of the one under the `point`. */
export function corrected(doc, one, made, point = null) {
  if (point && !point.positive) return { ...made, prompt: undefined };
  const others = seen(doc).filter((each) => each.number !== one.number && each.label !== one.label && !(point && holds(each, point)));
  return joined(one.mask.size, [one, without(made, others)]);
}

// `added`: what of a new mask is the correction, which a region takes from all others.
/** Replaces fields of the segment with a number; one without pixels is gone. */
export function withFields(doc, number, fields, added = null) {
  const own = doc.segments.find((one) => one.number === number);
  const taken = fields.mask && isRegion(own) ? [added ?? without(fields, [own])] : [];
  const layer = fields.mask ? topOf(doc) : layerOf(own);
  const segments = doc.segments.flatMap((one) => {
    const next = one === own ? { ...one, layer, ...fields, isEdited: true } : one.isGone ? one : without(one, taken);
    if (next === one) return [one];
    const isGone = next.isGone || !next.area;
    // What a word found stays as a mark: the next answer must not bring it back.
    return isGone && !one.origins ? [] : [{ ...next, isGone }];
  });
  return { ...doc, segments };
}

const joined = (size, some) => ({ ...encodedSpans(spansIn(pixelsIn(size, some.map(({ mask }) => mask))), size), prompt: undefined });

/** A picture's document after a stroke {points, radius, adds} on a segment, and its number; `one` missing: on a new one with these `fields`. */
export function afterStroke({ doc, width, height }, one, stroke, fields) {
  const size = [height, width];
  const painted = encodedSpans(spansIn(stroked(size, stroke)), size);
  const answer = doc.answer ?? { model: "by hand", size, timings_ms: { total: 0 }, absent: [], warnings: [] };
  if (!one) return withNew({ ...doc, answer }, { ...fields, ...painted });
  const { mask, area, bbox } = stroke.adds ? joined(size, [one, painted]) : without(one, [painted]);
  return [withFields(doc, one.number, { mask, area, bbox, prompt: undefined }, stroke.adds ? painted : null), one.number];
}

/** One segment of two: the first keeps its label. */
export function merged(doc, one, other) {
  const origins = (one.origins || other.origins) && [...(one.origins ?? []), ...(other.origins ?? [])];
  const whole = { ...joined(one.mask.size, [one, other]), origins };
  return withFields(withFields(doc, other.number, { isGone: true }), one.number, whole, other);
}

/** A segment for each connected part, the largest under the old number with all crumbs; null if there is one part only. */
export function split(doc, one) {
  const [first, ...others] = partsOf(one.mask);
  if (!others.length) return null;
  const whole = withFields(doc, one.number, { ...first, prompt: undefined });
  const at = whole.segments.findIndex(({ number }) => number === one.number);
  const fresh = others.map((part) => ({ ...whole.segments[at], ...part }));
  return { ...whole, segments: whole.segments.toSpliced(at + 1, 0, ...numbered(doc.segments, fresh)) };
}

/** A segment without the pixels of others; as it is where it has none of them. */
function without(one, others) {
  const above = others.filter((other) => overlapOf(one, other));
  if (!above.length) return one;
  const { size } = one.mask;
  const pixels = pixelsIn(size, [one.mask]);
  for (const { mask } of above) paint(pixels, spansOf(mask), 0);
  return { ...one, ...encodedSpans(spansIn(pixels), size), prompt: undefined };
}

/** The 4-connected parts of a mask, the largest first; those below the share CRUMB of it belong to the largest. */
function partsOf(mask) {
  const { cells } = pixelsOf(mask);
  const { ends, region, areas, owner } = connected(cells, mask.size);
  const inside = [...owner.keys()].filter((id) => owner[id]);
  const total = inside.reduce((sum, id) => sum + areas[id], 0);
  const large = inside.filter((id) => areas[id] >= CRUMB * total).sort((a, b) => areas[b] - areas[a]);
  const places = Array.from(owner, (isInside, id) => (isInside ? Math.max(0, large.indexOf(id)) : large.length));
  ends.forEach((end, run) => cells.fill(places[region[run]], ends[run - 1] ?? 0, end));
  return encodedMap(cells, large.length, mask.size);
}
