// Marks of right and wrong: what a class's threshold should be, and saving it in a vocabulary.

import { addToLines, list } from "./answer.js";
import { put, tagged } from "./engine/server.js";
import { $, button, element, entryOf, happened, refusal, state, subject, tell } from "./page.js";

const MARGIN = 0.01; // above the highest wrong score, where nothing is right
const marks = new Map(); // key of a segment -> {label, score, right}

/** Two buttons for the line of a segment; none for one without a label, or of an object that is followed. */
function marksOf(one) {
  if (!one.label || one.track_id != null) return [];
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
  addToLines(marksOf);
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
