// The answer: painted by the worker, listed, summed up in a line, named under the pointer; marks of right and wrong.

import { put, tagged } from "./engine/server.js";
import { $, button, colourOf, element, entryOf, happened, kept, page, refill, refusal, state, subject, swatch, takesPrompts, tell } from "./page.js";

const MAX_NAMES = 8; // in the line of results
const PATTERNS = 3; // plain, stripes and dots
const SURE = 0.5; // the score from which a segment of a class is not drawn fainter
const hidden = new Set(); // names
let painter = null;
let map = null; // from the painter: the segment of each cell, and where names are written
let turn = 0;

/** Shows every answer on that view, painted by that worker. */
export function showOn(view, worker) {
  painter = worker;
  page.addEventListener("answered", () => {
    if (!state.answer) view.clear(); // else the last one stays until the next is painted
    view.prompts = state.mode === "picture" ? state.prompts : [];
    view.draw();
    show();
  });
  page.addEventListener("pictured", () => hidden.clear());
  page.addEventListener("correcting", list);
  painter.addEventListener("message", ({ data }) => {
    if (data.turn !== turn || !state.answer) return;
    if (data.kind === "map") {
      map = data;
      happened("mapped");
    } else if (data.kind === "painted") {
      view.fills = data.filled;
      view.lines = data.lined;
      view.names = namesOf(map.places);
      view.draw();
      $("canvas").dataset.painted = String(data.turn);
    }
  });
  $("threshold").addEventListener("input", repaint);
  kept("patterns", repaint);
  kept("names", repaint);
}

function show() {
  const { answer } = state;
  map = null;
  turn += 1;
  list();
  $("warnings").replaceChildren(...firstOfEach(answer?.warnings ?? []).map((text) => element("li", { textContent: text })));
  $("timings").textContent = answer ? `${answer.model}: ${answer.timings_ms.total.toFixed(0)} ms` : "";
  if (!answer) return;
  const [height, width] = answer.size;
  painter.postMessage({ kind: "segments", turn, width, height, segments: answer.segments.map((one) => one.mask) });
  repaint();
  tell(answer.summary ?? summary());
}

function summary() {
  const { absent, segments } = state.answer;
  const objects = segments.filter((one) => one.task === "prompt");
  const labels = (some) => [...new Set(some.map((one) => one.label).filter(Boolean))];
  const words = segments.filter((one) => one.task !== "prompt");
  const found = labels(words).length ? `Found ${someOf(labels(words))}.` : words.length ? `Found ${words.length} ${words.length === 1 ? "object" : "objects"}.` : "";
  const named = labels(objects).length ? `, by your words ${someOf(labels(objects))}` : "";
  const cut = objects.length ? `Cut out ${objects.length} ${objects.length === 1 ? "object" : "objects"}${named}.` : "";
  const missing = absent?.length ? `Not found: ${someOf(absent)}.` : "";
  return [cut, found, missing || (segments.length ? "" : "Nothing found.")].filter(Boolean).join(" ");
}

/** One warning of each type in full: sixty unknown words have one each. */
function firstOfEach(warnings) {
  return [...new Set(warnings.map(({ type }) => type))].map((type) => {
    const [detail, ...more] = new Set(warnings.filter((one) => one.type === type).map((one) => one.detail));
    return `${detail.replace(/\.$/, "")}${more.length ? `; and ${more.length} more like this` : ""}.`;
  });
}

function someOf(names) {
  const more = names.length - MAX_NAMES;
  return names.slice(0, MAX_NAMES).map(isolated).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** A word that is read from right to left, so that its neighbours keep their order. */
function isolated(name) {
  return /[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(name) ? `\u2068${name}\u2069` : name;
}

function isLow({ score }) {
  return score < Number($("threshold").value);
}

/** The colour's number of each segment, -1 where it is not shown. */
export function shown() {
  return state.answer.segments.map((one) => (isLow(one) || hidden.has(one.name) ? -1 : one.colour));
}

function repaint() {
  if (!state.answer) return;
  const { segments } = state.answer;
  const inks = shown().map((number, index) => {
    const faint = segments[index].class_index != null && segments[index].score < SURE;
    return number < 0 ? null : { colour: colourOf(number), faint, pattern: $("patterns").checked ? number % PATTERNS : 0 };
  });
  painter.postMessage({ kind: "draw", turn, inks });
  [...$("segments").children].forEach((line, index) => line.classList.toggle("low", isLow(segments[index])));
}

/** Names of the segments that are shown, where the view writes them. */
function namesOf(places) {
  if (!$("names").checked) return [];
  const colours = shown();
  return state.answer.segments
    .map((one, index) => ({ ...places[index], text: one.name, colour: colourOf(one.colour), shown: places[index] && colours[index] >= 0 }))
    .filter((name) => name.shown);
}

function list() {
  $("columns").hidden = !state.answer?.segments.length;
  refill("segments", (state.answer?.segments ?? []).map(line));
}

function line(one) {
  const show = ({ target }) => {
    if (target.checked) hidden.delete(one.name);
    else hidden.add(one.name);
    list();
    repaint();
  };
  const box = element("input", { type: "checkbox", checked: !hidden.has(one.name), name: one.name, onchange: show });
  const share = (100 * one.area) / (state.answer.size[0] * state.answer.size[1]);
  return element(
    "li",
    { className: isLow(one) ? "low" : "" },
    element("label", {}, box, swatch(one.colour), one.name),
    ...(one.key && takesPrompts() ? [correctButton(one)] : []),
    ...(one.track_id == null ? marksOf(one) : []),
    element("span", { className: "share", textContent: `${one.score.toFixed(2)} · ${share.toFixed(1)} %` }),
  );
}

function correctButton(one) {
  const chosen = state.correcting === one.key;
  const choose = () => {
    state.correcting = chosen ? null : one.key;
    happened("correcting");
  };
  const title = `Correct ${one.name}`;
  return button("✎", choose, { className: "correct", title, ariaLabel: title, ariaPressed: String(chosen), name: `correct ${one.key}` });
}

/** The segment at a pixel of the picture, or null. */
export function segmentAt({ x, y }) {
  if (!map || !state.answer) return null;
  const [column, row] = [Math.floor(x / map.step), Math.floor(y / map.step)];
  if (column >= map.width || row >= map.height) return null;
  return state.answer.segments[map.map[row * map.width + column] - 1] ?? null;
}

// Marks of right and wrong: what a class's threshold should be, and saving it in a vocabulary.

const MARGIN = 0.01; // above the highest wrong score, where nothing is right
const marks = new Map(); // key of a segment -> {label, score, right}

/** Two buttons for the line of a segment; none for one without a label. */
function marksOf(one) {
  if (!one.label) return [];
  return [true, false].map((right) => {
    const title = `${right ? "right" : "wrong"}: ${one.label}`;
    const pressed = marks.get(keyOf(one))?.right === right;
    const mark = () => {
      if (pressed) marks.delete(keyOf(one));
      else marks.set(keyOf(one), { label: one.label, score: one.score, right });
      list();
      listProposals();
    };
    const name = `${title} ${one.id}`;
    return button(right ? "✓" : "✗", mark, { className: right ? "good" : "bad", title, ariaLabel: title, ariaPressed: String(pressed), name });
  });
}

/** A class has one segment in a picture, or many objects, which their boxes tell apart. */
function keyOf(one) {
  return [state.answer.image_id ?? subject().file.name, one.label, ...(one.task === "semantic" ? [] : one.bbox)].join(" ");
}

/** Of each label that was marked. */
function proposals() {
  const all = [...marks.values()];
  return new Map(all.map(({ label }) => [label, propose(all.filter((one) => one.label === label))]));
}

function listProposals() {
  $("calibration").hidden = !marks.size;
  $("proposals").replaceChildren(
    ...[...proposals()].map(([label, { threshold, agree, right, wrong }]) => {
      const at = threshold === null ? "no threshold does better" : `at least ${threshold.toFixed(2)}`;
      const told = `${right} right, ${wrong} wrong; ${agree} of ${right + wrong} as marked`;
      return element("li", {}, element("strong", { textContent: label }), ` ${at} `, element("span", { className: "hint", textContent: told }));
    }),
  );
}

function withThreshold(entry, found) {
  return found.has(entry.name) ? { ...entry, threshold: found.get(entry.name).threshold } : entry;
}

function use() {
  if ($("vocabulary").value) return tell("A named list is changed by saving it, under its own or another name.");
  const found = proposals();
  state.words = state.words.map((word) => withThreshold(word, found));
  $("background").checked = true; // where every pixel gets a class nothing is dropped
  happened("changed");
}

/** The named list that is in use, or the words, with the thresholds, under a name. */
async function save(name, offer) {
  const from = $("vocabulary").value;
  const found = proposals();
  /** @type {Record<string, any>} */
  let list = { classes: state.words.map((word) => entryOf(withThreshold(word, found))), background: true };
  /** @type {Record<string, string>} */
  let condition = { "if-none-match": "*" };
  if (from) {
    const { content, etag } = await tagged(`/v1/vocabularies/${from}`);
    if (!content.background) return tell(`In ${from} every pixel gets a class, so that thresholds drop nothing.`, true);
    const classes = content.classes.map((entry) => withoutNulls(withThreshold(entry, found)));
    list = { classes, background: content.background, source: content.source };
    if (from === name) condition = { "if-match": etag };
  }
  await put(`/v1/vocabularies/${name}`, list, condition);
  await offer();
  $("vocabulary").value = name;
  happened("changed");
  $("kept").textContent = `Saved as ${name}.`;
}

function withoutNulls(entry) {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null));
}

/** `offer` fills the menu of vocabularies again. */
export function calibrateWith(offer) {
  $("use").addEventListener("click", use);
  $("keep").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("kept").textContent = "";
    const name = $("keep-name").value.trim();
    try {
      await save(name, offer);
    } catch (problem) {
      if (problem.status === 412) tell(`There is a vocabulary ${name} already: choose it under More, or another name.`, true);
      else refusal(problem);
    }
  });
}

/**
 * The threshold under which most marks come true: the right ones kept, the wrong ones dropped.
 *
 * @param {{score: number, right: boolean}[]} marks
 * @returns {{threshold: number | null, agree: number, right: number, wrong: number}} null where no threshold does better
 */
export function propose(marks) {
  const right = marks.filter((one) => one.right).length;
  const scores = [...new Set(marks.map((one) => one.score))].sort((one, other) => one - other);
  // Between two scores all thresholds do the same; the middle is the one that new pictures may shift most.
  const edges = [0, ...scores.slice(1).map((score, index) => (scores[index] + score) / 2)];
  if (!right && scores.length) edges.push(Math.min(1, scores.at(-1) + MARGIN));
  const agree = (edge) => marks.filter((one) => one.right === one.score >= edge).length;
  const best = edges.reduce((most, edge) => (agree(edge) > agree(most) ? edge : most), 0);
  const threshold = best ? Number(best.toFixed(4)) : null;
  return { threshold, agree: agree(best), right, wrong: marks.length - right };
}
