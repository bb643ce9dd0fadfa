// Classes by example: encoded examples, stored in this browser, and the class vectors computed from them.

import { inputsOf, predict } from "./prompts.js";
import { databaseOf } from "../store.js";

const STORE = "examples";
const within = databaseOf("lexiseg", (database) => database.createObjectStore(STORE, { autoIncrement: true }));

/** The encoded region of a prompt: the cells of its mask inside its box, or those similar to its points. */
export async function rowOf(rules, picture, prompt, run) {
  const { mask } = await predict(rules, picture, { ...prompt, single_pass: true }, run);
  const shown = { pixels: picture.features.pixels, mask: [mask, picture.cells], ...inputsOf(picture, prompt) };
  const { row, cells } = await run("region", shown);
  if (!cells.data[0]) throw new Error("The clicks beside the example leave nothing of it: take one back.");
  return Float32Array.from(row.data);
}

// Of `learned`: `alone` and `besideWords` are a class's vectors without and with words; `covered`: 1 for background words of the same meaning.
/** A class computed from its examples; `withoutNegatives` takes the direction of negative ones from a vector; with these there are `groups` of cells. */
export async function learned(rules, { name, examples = [], negatives = [] }, run) {
  if (!examples.length) return { alone: [], besideWords: [], withoutNegatives: (vector) => vector, groups: [] };
  const [positives, negativeRows] = await Promise.all([examples, negatives].map((some) => Promise.all(some.map(({ kept }) => storedRow(kept, name)))));
  const { embedding: width } = rules.card;
  const rows = [Float32Array.from(positives.flatMap((row) => [...row.slice(0, width)])), [positives.length, width]];
  const { vectors, middle } = await run("examples", { rows });
  const pushed = async (own) => {
    for (const row of negativeRows) own = (await run("push-away", { vectors: own, middle, negative: [row.slice(0, width), [1, width]] })).pushed;
    return own;
  };
  const scaled = await run("scale-examples", { vectors: await pushed(vectors), middle, rows });
  const each = ({ data }) => positives.map((_, i) => data.slice(i * width, (i + 1) * width));
  const unlike = negativeRows.flatMap((row) => groupsOf(row, width).map((group) => ({ group, isNegative: true })));
  return {
    alone: each(scaled.alone),
    besideWords: each(scaled.beside_words),
    covered: scaled.covered.data,
    withoutNegatives: async (vector) => (await pushed([vector, [1, width]])).data ?? vector,
    groups: unlike.length ? [...unlike, ...positives.flatMap((row) => groupsOf(row, width).map((group) => ({ group })))] : [],
  };
}

/** Groups of cells of a kept row. Rows of old versions have none. */
function groupsOf(row, width) {
  const groups = Array.from({ length: row.length / width - 1 }, (_, index) => row.slice((index + 1) * width, (index + 2) * width));
  return groups.filter((group) => group.some(Boolean));
}

export const keep = (row) => within([STORE], (rows) => rows.add(row));

async function storedRow(number, name) {
  const row = await within([STORE], (rows) => rows.get(number));
  if (!row) throw new Error(`What was shown of ${name} is not kept in this browser: show it again.`);
  return row;
}
