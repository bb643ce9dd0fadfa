// Classes by example: encoded examples, stored in this browser, and the class vectors computed from them.

import { inputsOf, predict } from "./prompts.js";
import { ended } from "../store.js";

const STORE = "examples";

/** The encoded region of a prompt: the cells of its mask inside its box, or those similar to its points. */
export async function rowOf(rules, picture, prompt, run) {
  const { mask } = await predict(rules, picture, { ...prompt, glance: true }, run);
  const shown = { pixels: picture.features.pixels, mask: [mask, picture.cells], ...inputsOf(picture, prompt) };
  const { row, cells } = await run("region", shown);
  if (!cells.data[0]) throw new Error("The clicks beside the example leave nothing of it: take one back.");
  return Float32Array.from(row.data);
}

/**
 * A class computed from its examples: `vectors`, their `middle`, `withoutNegatives` (removes the direction of negative
 * examples from a vector), and `groups` of cells, if there are negative examples.
 */
export async function learned(rules, { name, examples = [], negatives = [] }, run) {
  if (!examples.length) return { vectors: [], withoutNegatives: (vector) => vector, groups: [] };
  const [positives, negativeRows] = await Promise.all([examples, negatives].map((some) => Promise.all(some.map(({ kept }) => storedRow(kept, name)))));
  const { EMBEDDING: width } = rules.constants.network;
  const means = positives.flatMap((row) => [...row.slice(0, width)]);
  const { vectors, middle: { data: middle }, length } = await run("examples", { rows: [Float32Array.from(means), [positives.length, width]] });
  const { MAX_NEGATIVE_SCORE, MIN_SQUARED_SINE } = rules.constants.examples;
  const withoutNegatives = (vector) =>
    negativeRows.reduce((one, row) => {
      const { direction: negative } = unit(row.slice(0, width));
      const alike = dot(negative, middle);
      const direction = negative.map((value, i) => value - alike * middle[i]);
      const excess = Math.max(0, dot(one, negative) - MAX_NEGATIVE_SCORE * dot(one, middle)) / Math.max(dot(direction, direction), MIN_SQUARED_SINE);
      return one.map((value, i) => value - excess * direction[i]);
    }, vector);
  const each = positives.map((_, i) => withoutNegatives(vectors.data.slice(i * width, (i + 1) * width)).map((value) => value * length.data[0]));
  const unlike = negativeRows.flatMap((row) => groupsOf(row, width));
  const groups = unlike.length ? [...unlike.map((group) => ({ ...group, isNegative: true })), ...positives.flatMap((row) => groupsOf(row, width))] : [];
  return { vectors: each, middle, withoutNegatives, groups };
}

/** Groups of cells: their direction, and the minimum cosine (`bound`) of a similar cell. Rows of old versions have none. */
function groupsOf(row, width) {
  const groups = Array.from({ length: row.length / width - 1 }, (_, index) => row.slice((index + 1) * width, (index + 2) * width));
  return groups.filter((group) => group.some(Boolean)).map(unit);
}

function unit(row) {
  const length = Math.hypot(...row);
  return { direction: row.map((value) => value / length), bound: 1 / length };
}

export const dot = (one, other) => one.reduce((sum, value, i) => sum + value * other[i], 0);

async function stored(act) {
  const opening = indexedDB.open("lexiseg", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { autoIncrement: true });
  const database = await ended(opening);
  return ended(act(database.transaction(STORE, "readwrite").objectStore(STORE))).finally(() => database.close());
}

export const keep = (row) => stored((rows) => rows.add(row));

async function storedRow(number, name) {
  const row = await stored((rows) => rows.get(number));
  if (!row) throw new Error(`What was shown of ${name} is not kept in this browser: show it again.`);
  return row;
}
