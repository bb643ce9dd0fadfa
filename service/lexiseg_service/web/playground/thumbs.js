// Good or bad, said of segments: what a class's threshold should be, and keeping it in a vocabulary.

import { put, tagged } from "/playground/api.js";
import { refusal } from "/playground/busy.js";
import { said } from "/playground/examples.js";
import { $, element, happened, tell } from "/playground/page.js";
import { state } from "/playground/state.js";
import { drawChips } from "/playground/words.js";

const marks = new Map(); // label -> Map of a segment's key -> {score, right}

/** Two buttons for the line of a segment; none for one without a label. */
export function thumbsOf(one) {
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
  const { asked, image_id: image } = state.answer;
  return asked.task === "semantic" ? image : `${image} ${one.bbox}`;
}

function mark(one, right) {
  const of = marks.get(one.label) ?? new Map();
  marks.set(one.label, of);
  if (of.get(keyOf(one))?.right === right) of.delete(keyOf(one));
  else of.set(keyOf(one), { score: one.score, right });
  if (!of.size) marks.delete(one.label);
  list();
}

function proposals() {
  return new Map([...marks].map(([label, of]) => [label, propose([...of.values()])]));
}

function list() {
  $("calibration").hidden = !marks.size;
  $("proposals").replaceChildren(
    ...[...proposals()].map(([label, { threshold, agree, right, wrong }]) => {
      const at = threshold === null ? "no threshold does better" : `at least ${threshold.toFixed(2)}`;
      const told = `${right} right, ${wrong} wrong; ${agree} of ${right + wrong} as marked`;
      return element("li", {}, element("strong", { textContent: label }), ` ${at} `, element("span", { className: "hint", textContent: told }));
    }),
  );
}

function threshold(entry, found) {
  return found.has(entry.name) ? { ...entry, threshold: found.get(entry.name).threshold } : entry;
}

function use() {
  if ($("vocabulary").value) return tell("A named list is changed by keeping it, under its own or another name.");
  const found = proposals();
  state.words = state.words.map((word) => threshold(word, found));
  $("background").checked = true; // where every pixel gets a class nothing is dropped
  drawChips();
  happened("changed");
}

/** The named list that is in use, or the words, with the thresholds, under a name. */
async function keep(name, offer) {
  const from = $("vocabulary").value;
  const found = proposals();
  let list = { classes: state.words.map((word) => said(threshold(word, found))), background: true };
  let condition = { "if-none-match": "*" };
  if (from) {
    const { content, etag } = await tagged(`/v1/vocabularies/${from}`);
    if (!content.background) return tell(`In ${from} every pixel gets a class, so that thresholds drop nothing.`, true);
    const classes = content.classes.map((entry) => plain(threshold(entry, found)));
    list = { classes, background: content.background, source: content.source };
    if (from === name) condition = { "if-match": etag };
  }
  await put(`/v1/vocabularies/${name}`, list, condition);
  await offer();
  $("vocabulary").value = name;
  happened("changed");
  $("kept").textContent = `Kept as ${name}.`;
}

/** Without what is not set. */
function plain(entry) {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== null));
}

/** `offer` fills the menu of vocabularies anew. */
export function thumbsFor(offer) {
  $("use").addEventListener("click", use);
  $("keep").addEventListener("submit", async (event) => {
    event.preventDefault();
    $("kept").textContent = "";
    const name = $("keep-name").value.trim();
    try {
      await keep(name, offer);
    } catch (problem) {
      if (problem.status === 412) tell(`There is a vocabulary ${name} already: choose it under More, or another name.`, true);
      else refusal(problem);
    }
  });
}

const MARGIN = 0.01; // above the highest wrong score, where nothing is right

/**
 * The threshold under which most marks come true: the right ones kept, the wrong ones dropped.
 *
 * @param marks [{score, right}]
 * @returns {threshold, agree, right, wrong}; the threshold is null where none does better
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
