// Segmentation by words: classes and background compete for every cell, and segments are made of the cells won.

import { connected, encodedMap, winners, withoutSpecks } from "../masks/kernel.js";

/** The classes of a question: `classes` {name, threshold, stuff, learned}, `texts` (vectors of words), whether it `drops` others, and `inputs`. */
export async function bankOf(rules, question, read) {
  const entries = (question.classes ?? []).map((one) => (typeof one === "string" ? { name: one } : one));
  if (!entries.length) throw new Error("Type a word first.");
  const [classes, texts] = [[], []]; // texts: {text, owner, vector, same, ...}
  for (const [owner, { synonyms = [], ...entry }] of entries.entries()) {
    classes.push({ ...entry, stuff: rules.stuff.includes(entry.name.toLowerCase()) });
    for (const text of [entry.name, ...synonyms]) texts.push({ text, owner, ...(await read(text)) });
  }
  const drops = question.background !== false;
  const { words, synonyms } = rules.card.background;
  const means = (word, index) => texts.some(({ text, same }) => same[index] || synonyms[word]?.includes(text.toLowerCase()));
  const dropped = words.map((word, index) => Number(!drops || means(word, index)));
  return { classes, texts, drops, inputs: { ...inputsOf(rules, classes, texts, dropped), ...partsOf(rules, classes, texts, read) } };
}

/** Which classes are parts, and pairs of a part and its whole with their directions; taught classes are neither. */
function partsOf({ parts, shift: [, numbers] }, classes, texts, read) {
  const words = texts.filter(({ owner }) => !(classes[owner].learned?.factor < 1));
  const named = (table, { text }) => table[[text.toLowerCase(), text.toLowerCase().replace(/s$/, "")].find((form) => Object.hasOwn(table, form))];
  const pairs = words.flatMap((part) => words.map((whole) => ({ part: part.owner, whole: whole.owner, row: named(named(parts, part) ?? {}, whole) })));
  const rows = pairs.filter(({ part, whole, row }) => row !== undefined && part !== whole && !pairs.some((one) => one.part === part && one.row < 0));
  if (!rows.length) rows.push({ part: classes.length, whole: classes.length, row: null }); // of no class
  return {
    is_part: [Float32Array.from(classes, (_, index) => Number(words.some((word) => word.owner === index && named(parts, word)))), [classes.length]],
    part: [BigInt64Array.from(rows, ({ part }) => BigInt(part)), [rows.length]],
    divided: [BigInt64Array.from(rows, ({ whole }) => BigInt(whole)), [rows.length]],
    dividing: [Float32Array.from(rows.flatMap(({ row }) => [...(row === null ? new Float32Array(numbers) : read.direction(row))])), [rows.length, numbers]],
  };
}

/** Inputs of the graph `scores`, but for `company`: how many classes, the first ones, compete as in a question. */
function inputsOf({ card: { embedding }, shift: [, numbers], teaching: { size } }, classes, texts, dropped) {
  const learned = classes.flatMap(({ learned }, index) => (learned ? [{ ...learned, index }] : []));
  if (!learned.length) learned.push({ index: classes.length, direction: new Float32Array(size), factor: 0 }); // of no class
  return {
    directions: [Float32Array.from(learned.flatMap(({ direction }) => [...direction])), [learned.length, size]],
    learned: [BigInt64Array.from(learned, ({ index }) => BigInt(index)), [learned.length]],
    text: [Float32Array.from(learned, ({ factor }) => factor), [learned.length]],
    vectors: [Float32Array.from(texts.flatMap(({ vector }) => [...vector])), [texts.length, embedding]],
    shifts: [Float32Array.from(texts.flatMap((one) => [...one.shift])), [texts.length, numbers]],
    owner: [BigInt64Array.from(texts, ({ owner }) => BigInt(owner)), [texts.length]],
    classes: [Float32Array.from(classes, ({ stuff }) => Number(stuff)), [classes.length]],
    dropped: [Float32Array.from(dropped), [dropped.length]],
  };
}

/** {label, class_index, score, least} of the best class under each mask, logits [h * w]; null if it is the background. */
export async function namesOf(view, bank, masks, run) {
  const n = masks.length;
  const all = new Float32Array(n * view.cells[0] * view.cells[1]);
  masks.forEach((mask, index) => all.set(mask, index * mask.length));
  const { means, ...taught } = await run("means", { ...view.features, masks: [all, [n, ...view.cells]] });
  const { scores } = await run("scores", { ...view.features, ...taught, pixels: means, ...bank.inputs, company: [Float32Array.of(0), []] });
  return masks.map((_, index) => {
    const logits = Array.from({ length: rowsOf(bank) }, (_, row) => scores.data[row * n + index]);
    const winner = logits.indexOf(Math.max(...logits));
    if (winner >= bank.classes.length) return null;
    const score = 1 / logits.reduce((sum, logit) => sum + Math.exp(logit - logits[winner]), 0);
    const { name: label, threshold } = bank.classes[winner];
    return { label, class_index: winner, score, ...(threshold != null && { least: threshold }) };
  });
}

const rowsOf = ({ classes, drops }) => classes.length + (drops ? 1 : 0); // the last row is the background

/** The answer to a question about words. */
export async function segmentsOf(rules, question, bank, { features, cells, size }, run) {
  const { classes, drops } = bank;
  const task = question.task ?? "semantic";
  const seen = await run("scores", { ...features, ...bank.inputs, company: [Float32Array.of(classes.length), []] }); // of classes, and of the background in the last row
  const own = seen.scores.data.subarray(0, rowsOf(bank) * cells[0] * cells[1]);
  const clean = rules.card.specks ? withoutSpecks(own, rowsOf(bank), classes.length, cells, rules.card.specks) : own;
  const won = winners(clean, rowsOf(bank), cells, size);
  const regions = { ...won, owner: classes.map((_, index) => index) };
  const presence = task === "semantic" || !rules.card.panoptic.things ? null : (await run("presence", seen)).presence;
  const { labels, votes, owner } = task === "semantic" ? regions : await thingsOf(rules, classes, presence, won, size, task, run);
  const pieces = encodedMap(labels, owner.length, size).map((one, piece) => ({ ...one, piece })).filter(({ area }) => area);
  const means = pieces.map(({ area, piece }) => votes[piece] / area);
  const shares = pieces.map(({ area }) => area / labels.length);
  const inputs = piecesOf(pieces.map(({ piece }) => owner[piece]), means, shares);
  const calibrated = rules.card.score && pieces.length ? (await run("segment-scores", { whole: seen.whole, ...inputs })).score.data : means;
  const segments = pieces.map((one, i) => {
    const index = owner[one.piece];
    const least = classes[index].threshold ?? question.threshold ?? (drops && rules.card.score ? rules.card.score.threshold : 0);
    return { label: classes[index].name, class_index: index, score: calibrated[i], doubtful: calibrated[i] < least, ...one };
  });
  const sure = new Set(segments.flatMap((one) => (one.doubtful ? [] : [one.class_index])));
  const shown = segments.filter((one) => !one.doubtful || (question.doubtful && !sure.has(one.class_index)));
  const present = new Set(shown.map((one) => one.class_index));
  const absent = classes.filter(({ stuff }, index) => !present.has(index) && !(stuff && task === "instance"));
  return { task, segments: shown.map(({ piece: _, ...one }, index) => ({ id: index + 1, ...one })), absent: absent.map(({ name }) => name) };
}

/** Connected regions of each class, the largest first, with `presence` only probable things; stuff is one (panoptic) or left out. */
async function thingsOf(rules, classes, presence, { labels, probability }, size, task, run) {
  const { ends, region, owner, areas } = connected(labels, size);
  const votes = new Float64Array(owner.length);
  for (let i = 0, pixel = 0; i < ends.length; i++) while (pixel < ends[i]) votes[region[i]] += probability[pixel++];
  const numbered = Array.from(owner, (index) => Math.min(index, classes.length - 1)); // the background's regions have the number of no class
  const pieceInputs = piecesOf(numbered, Array.from(votes, (sum, id) => sum / areas[id]), Array.from(areas, (area) => area / labels.length));
  const believed = presence && (await run("things", { presence, ...pieceInputs })).thing.data;
  const smallest = Math.max(1, Math.trunc(rules.regions.min_share * labels.length));
  const pieces = classes.flatMap(({ stuff }, index) => {
    const own = [...owner.keys()].filter((id) => owner[id] === index);
    if (stuff) return task === "panoptic" && own.length ? [own] : [];
    const things = own.filter((id) => areas[id] >= smallest && (!believed || believed[id] >= rules.card.panoptic.things.least));
    return things.sort((one, other) => areas[other] - areas[one]).map((id) => [id]);
  });
  const numbers = new Uint16Array(owner.length).fill(pieces.length);
  pieces.forEach((some, number) => some.forEach((id) => (numbers[id] = number)));
  const map = new Uint16Array(labels.length);
  ends.forEach((end, i) => map.fill(numbers[region[i]], i ? ends[i - 1] : 0, end));
  return { labels: map, owner: pieces.map(([id]) => owner[id]), votes: pieces.map((some) => some.reduce((sum, id) => sum + votes[id], 0)) };
}

const piecesOf = (owners, probability, area) => ({
  owner: [BigInt64Array.from(owners, BigInt), [owners.length]],
  probability: [Float64Array.from(probability), [owners.length]],
  area: [Float64Array.from(area), [owners.length]],
});

/** Warnings about words far from the training words, words by their form, and stuff as instances. */
export function warningsOf(rules, { classes, texts }, task) {
  const { name: model } = rules.card;
  const best = classes.map((_, index) => texts.filter(({ owner }) => owner === index).sort((one, other) => other.likeness - one.likeness)[0]);
  const strange = best.flatMap((one, index) => {
    if (!rules.familiar || !(one.foreign || one.likeness < rules.familiar.bound)) return [];
    const why = one.foreign ? `does not look like an English word, and ${model} reads English` : `is far from every word that ${model} was trained on`;
    return [{ type: "unfamiliar-word", detail: `'${classes[index].name}' ${why}; what it marks is a guess`, field: `classes.${index}` }];
  });
  const about = (type, isMeant, detail) =>
    classes.flatMap(({ name }, index) => (isMeant(classes[index]) ? [{ type, detail: `'${name}' ${detail}`, field: `classes.${index}` }] : []));
  return [
    ...Object.entries(rules.doubts).flatMap(([type, [pattern, detail]]) => about(type, ({ name, learned }) => !learned && RegExp(pattern).test(name), detail)),
    ...about("stuff-as-instances", ({ stuff }) => stuff && task === "instance", "has no instances, so none was looked for; ask for semantic or panoptic"),
    ...strange,
  ];
}

/** A warning if masks are corrected: models of this page take none as prompts. */
export function warningsOfPrompts(rules, prompts) {
  if (!prompts.some(({ mask }) => mask)) return [];
  const what = "takes no masks as prompts: what the points and the box show alone, or the mask's box, was added to the mask or removed from it";
  return [{ type: "no-mask-prompts", detail: `${rules.card.name} ${what}`, field: "prompts" }];
}
