// The answer: painted by the worker, listed, summed up in a line, named under the pointer; marks of right and wrong.

import { put, tagged } from "./engine/server.js";
import { colourOf, css } from "./masks.js";
import { $, element, entryOf, focusedElement, happened, page, state, subject, takesPrompts, tell } from "./page.js";
import { refusal } from "./problem.js";

const MAX_NAMES = 8; // in the line of results
const SURE = 0.5; // the score from which a segment of a class is not drawn fainter
const PATTERNS_KEY = "lexiseg-patterns";
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
  $("patterns").checked = localStorage.getItem(PATTERNS_KEY) === "on";
  $("patterns").addEventListener("change", () => {
    localStorage.setItem(PATTERNS_KEY, $("patterns").checked ? "on" : "off");
    repaint();
  });
  $("names").addEventListener("change", () => map && state.answer && repaint());
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

/** The colour's number of each segment, -1 where it is not shown. */
export function shown() {
  const least = Number($("threshold").value);
  return state.answer.segments.map((one) => (one.score < least || hidden.has(one.name) ? -1 : one.colour));
}

function repaint() {
  if (!state.answer) return;
  const faint = state.answer.segments.map((one) => one.class_index != null && one.score < SURE);
  painter.postMessage({ kind: "draw", turn, shown: shown(), faint, patterns: $("patterns").checked });
  [...$("segments").children].forEach((line, index) =>
    line.classList.toggle("low", state.answer.segments[index].score < Number($("threshold").value)),
  );
}

/** Names of the segments that are shown, where the view writes them. */
function namesOf(places) {
  if (!$("names").checked) return [];
  const colours = shown();
  return state.answer.segments
    .map((one, index) => ({ ...places[index], text: one.name, colour: css(colourOf(one.colour)), shown: places[index] && colours[index] >= 0 }))
    .filter((name) => name.shown);
}

function list() {
  const focused = focusedElement()?.dataset.name;
  $("columns").hidden = !state.answer?.segments.length;
  $("segments").replaceChildren(...(state.answer?.segments ?? []).map(line));
  if (focused) [...$("segments").querySelectorAll("[data-name]")].find((one) => one.dataset.name === focused)?.focus();
}

function line(one) {
  const box = element("input", { type: "checkbox", checked: !hidden.has(one.name) });
  box.dataset.name = one.name;
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(one.name);
    else hidden.add(one.name);
    list();
    repaint();
  });
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = css(colourOf(one.colour));
  const share = (100 * one.area) / (state.answer.size[0] * state.answer.size[1]);
  return element(
    "li",
    {},
    element("label", {}, box, swatch, one.name),
    ...(one.key && takesPrompts() ? [correctButton(one)] : []),
    ...(one.track_id == null ? marksOf(one) : []),
    element("span", { className: "share", textContent: `${one.score.toFixed(2)} · ${share.toFixed(1)} %` }),
  );
}

function correctButton(one) {
  const button = element("button", { type: "button", className: "correct", textContent: "✎", title: `Correct ${one.name}`, ariaLabel: `Correct ${one.name}` });
  button.ariaPressed = String(state.correcting === one.key);
  button.dataset.name = `correct ${one.key}`;
  button.addEventListener("click", () => {
    state.correcting = state.correcting === one.key ? null : one.key;
    happened("correcting");
  });
  return button;
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
const marks = new Map(); // label -> Map of a segment's key -> {score, right}

/** Two buttons for the line of a segment; none for one without a label. */
function marksOf(one) {
  if (!one.label) return [];
  const buttons = [true, false].map((right) => {
    const name = `${right ? "right" : "wrong"}: ${one.label}`;
    const button = element("button", { type: "button", className: right ? "good" : "bad", title: name, ariaLabel: name });
    button.textContent = right ? "✓" : "✗";
    button.dataset.name = `${name} ${one.id}`;
    button.addEventListener("click", () => {
      mark(one, right);
      press();
    });
    return button;
  });
  const press = () => {
    const known = marks.get(one.label)?.get(keyOf(one));
    buttons.forEach((button, index) => (button.ariaPressed = String(known?.right === (index === 0))));
  };
  press();
  return buttons;
}

/** A class has one segment in a picture, or many objects, which their boxes tell apart. */
function keyOf(one) {
  const image = state.answer.image_id ?? subject().file.name;
  return one.task === "semantic" ? image : `${image} ${one.bbox}`;
}

function mark(one, right) {
  const of = marks.get(one.label) ?? new Map();
  marks.set(one.label, of);
  if (of.get(keyOf(one))?.right === right) of.delete(keyOf(one));
  else of.set(keyOf(one), { score: one.score, right });
  if (!of.size) marks.delete(one.label);
  listProposals();
}

function proposals() {
  return new Map([...marks].map(([label, of]) => [label, propose([...of.values()])]));
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
