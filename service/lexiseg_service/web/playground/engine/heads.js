// Heads: classes that reviewed pictures teach, kept in this browser; the kernel samples and solves them, as in the service (/v1/heads).
// A kept head: `name`, `model`, `version`, `classes` {name, synonyms}, and `pictures` {key, part}: that note holds what the picture taught.

import { learnedOf, lessonOf } from "../masks/kernel.js";
import { mapOf } from "../masks/runs.js";
import * as store from "../project/store.js";
import { bankOf } from "./semantic.js";

const HEADS = "heads"; // name of the note with all heads by name
let last = /** @type {any} */ (null); // the head that was solved last, with what it learned

const all = async () => ({ __proto__: null, ...(await store.read(HEADS)) }); // `constructor` is a name, too
const inTurn = (act) => (navigator.locks ? navigator.locks.request("lexiseg-heads", act) : act()); // of all tabs; the page's origin may be insecure
const fresh = () => `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
const isNamed = (name) => (one) => one.name.toLowerCase() === name?.toLowerCase();
const entryOf = (one) => (typeof one === "string" ? { name: one, synonyms: [] } : { synonyms: [], ...one });
const without = (pictures = []) => Object.fromEntries(pictures.map(({ part }) => [part, undefined])); // notes

export const heads = async () => Object.values(await all());
export const head = async (engine, name) => described(engine, await opened(engine, name));

export const forget = (_, name) => inTurn(async () => {
  const { [name]: gone, ...others } = await all();
  await store.note({ [HEADS]: others, ...without(gone?.pictures) });
});

/** Changes or creates a head, as a PUT to /v1/heads/NAME does; nothing is kept of what teaches nothing. */
export const teach = (engine, name, { classes, pictures, remove }) => inTurn(async () => {
  const before = (await all())[name] ?? { classes: [], pictures: [] };
  const known = [...before.classes, ...classes.map(entryOf).filter((one) => !before.classes.some(isNamed(one.name)))];
  const taught = pictures.map(({ key }) => ({ key, part: `lesson ${fresh()}` }));
  const lessons = new Map();
  for (const [index, { part }] of taught.entries()) lessons.set(part, await taughtBy(engine, known, pictures[index]));
  const goes = ({ key }) => remove.includes(key) || taught.some((one) => one.key === key);
  const kept = { name, model: `${engine.rules.card.name}@${engine.rules.card.version}`, version: fresh(), classes: known, pictures: [...before.pictures.filter((one) => !goes(one)), ...taught] };
  const solved = await solve(engine, kept, lessons);
  await store.note({ ...Object.fromEntries(lessons), [HEADS]: { ...(await all()), [name]: kept }, ...without(before.pictures.filter(goes)) });
  return described(engine, solved);
});

/** What a picture teaches: its `objects` {class, mask}, later ones above; other pixels show none of the `reviewed` classes. */
async function taughtBy({ rules: { teaching }, rules, run, read, viewOf }, classes, { picture, objects, reviewed }) {
  const names = [...reviewed, ...objects.map((one) => one.class)];
  const own = classes.filter((one) => names.some((name) => isNamed(name)(one)));
  const view = await viewOf(picture);
  const bank = await bankOf({ ...rules, parts: {} }, { classes: own }, read);
  const n = own.length + 1; // the row of a class without words is what the others must exceed
  const inputs = { ...bank.inputs, classes: [new Float32Array(n), [n]], is_part: [new Float32Array(n), [n]] };
  const { scores } = await run("scores", { ...view.features, ...inputs, company: [Float32Array.of(own.length), []] });
  const layers = objects.map((one) => [one.class == null ? -1 : 1 + own.findIndex(isNamed(one.class)), one.mask]);
  const labels = Int16Array.from(mapOf(layers, view.size, 1).cells, (number) => (number || own.length + 1) - 1); // below 0: unknown
  const lesson = lessonOf(labels, view.size, own.length, view.features, scores.data, teaching);
  return { digest: teaching.digest, classes: own.map(({ name }) => name), ...lesson };
}

/** A head with what it learns of its lessons; `taught`: those that are not kept yet. */
async function solve({ rules: { teaching } }, kept, taught = new Map()) {
  const lessons = await Promise.all(kept.pictures.map(async ({ part }) => taught.get(part) ?? (await store.read(part))));
  if (lessons.some((lesson) => lesson?.digest !== teaching.digest || !lesson.pixels)) {
    throw Object.assign(new Error("Some of its pictures were taught to another version of the page or its model."), { type: "model-changed" });
  }
  const places = lessons.map(({ classes }) => classes.map((name) => kept.classes.findIndex(isNamed(name))));
  const learned = await learnedOf(lessons, places, kept.classes.length, teaching.numbers);
  if (learned.only === null) return (last = { kept, ...learned });
  const only = kept.classes[learned.only] ? `'${kept.classes[learned.only].name}'` : "none of the classes";
  throw new Error(`All labelled pixels are ${only}; expected pixels of at least two classes, or of nothing.`);
}

async function opened(engine, name) {
  const kept = (await all())[name];
  if (!kept) throw Object.assign(new Error(`There is no head called ${name}.`), { status: 404 });
  return last?.kept.version === kept.version ? last : solve(engine, kept);
}

function described({ rules: { teaching } }, { kept, counts, iou, factors }) {
  const k = kept.classes.length;
  const classes = kept.classes.map((one, i) => {
    const [words, ...shares] = [i, k + i, 2 * k + i].map((place) => (Number.isNaN(iou[place]) ? null : Math.round(1000 * iou[place]) / 10));
    const [isFew, range] = [counts[i] < teaching.few, shares.toSorted((one, other) => one - other)];
    const figures = { iou_words: words, iou_taught: isFew ? null : shares[0], iou_range: isFew && words !== null ? range : null };
    return { ...one, ...figures, pictures: counts[i], kept: counts[i] && factors[i] === 1 ? "words" : null, wants: counts[k + i] };
  });
  return { ...kept, pictures: kept.pictures.length, keys: kept.pictures.map(({ key }) => key), classes };
}

const rowsOf = (all, n) => Array.from({ length: n }, (_, i) => all.subarray((i * all.length) / n, ((i + 1) * all.length) / n));
const meanOf = (numbers) => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;

/** A question with the classes of its head first, each with what it has `learned` for a picture of these features. */
export async function withHead(engine, question, { decoded, middle }) {
  if (!question.head) return question;
  const { kept, factors, ...learnt } = await opened(engine, question.head.split("@")[0]);
  const [directions, places] = [learnt.directions, learnt.nearby].map((all) => rowsOf(all, kept.classes.length));
  const means = learnt.nearby.some(Boolean) ? [decoded, middle].flatMap(({ data, dims: [n] }) => rowsOf(data, n).map(meanOf)) : [];
  const apart = (place) => means.reduce((sum, mean, i) => sum + (mean - place[i]) ** 2, 0);
  const isNear = (place) => !place.at(-1) || apart(place) <= place.at(-1); // a mean cell, 1, and a squared radius, 0 where all pictures are near
  const own = question.classes.map(entryOf);
  const taught = kept.classes.map((one, i) => {
    const asked = own.find(isNamed(one.name));
    const learned = { direction: directions[i], factor: isNear(places[i]) ? factors[i] : 1 }; // 1: no taught class takes what words give to it
    return learned.factor === 1 ? { ...one, ...asked, name: one.name, learned } : { ...one, learned, threshold: asked?.threshold };
  });
  return { ...question, classes: [...taught, ...own.filter(({ name }) => !kept.classes.some(isNamed(name)))] };
}
