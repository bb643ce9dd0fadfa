// Words: classes and background compete for every cell, and segments are made of what they won. The numbers are the card's.

import { dot, learned } from "./examples.js";
import { encoded, halfToEven, logSumExp, winners } from "./maps.js";
import { Refusal } from "./refusal.js";
import { parts } from "../regions.js";

/**
 * The classes of a question, read: `classes` {name, threshold, texts, stuff}, `texts` with examples and their `owner`, and
 * the background behind them; `groups` of cells, of classes with negative examples.
 */
export async function bankOf(rules, question, read, run) {
  const entries = (question.classes ?? []).map((one) => (typeof one === "string" ? { name: one } : one));
  const stuff = new Set(rules.stuff);
  const classes = [];
  const texts = [];
  const groups = [];
  const byExample = []; // classes without words
  for (const [owner, { synonyms = [], ...entry }] of entries.entries()) {
    const made = await learned(rules, entry, run);
    groups.push(...made.groups.map((group) => ({ owner, ...group })));
    const own = synonyms.length || !made.vectors.length ? [entry.name, ...synonyms] : [];
    classes.push({ ...entry, texts: own, stuff: stuff.has(entry.name.toLowerCase()) });
    for (const text of own) {
      const one = await read(text);
      texts.push({ text, owner, ...one, vector: made.turned(one.vector) });
    }
    if (!own.length) byExample.push(made);
    const share = own.length ? rules.settings.examples.beside_words : 1;
    texts.push(...made.vectors.map((vector) => ({ owner, level: 0, vector: vector.map((value) => value * share) })));
  }
  const drops = question.background !== false;
  const words = drops ? competing(rules, texts, byExample) : [];
  const vectors = stacked([...texts.map(({ vector }) => vector), ...words]);
  const levels = Float32Array.from([...texts.map(({ level }) => level), ...words.map(() => 0)]);
  return { classes, texts, drops, vectors, levels, groups, directions: stacked(groups.map(({ direction }) => direction)) };
}

/** Vectors of the background words that say the same as no text and no example. */
function competing({ card: { background }, background: vectors, constants }, texts, byExample) {
  const width = vectors.length / background.words.length;
  const lowered = new Set(texts.map(({ text }) => text?.toLowerCase()));
  const { SAME_MEANING } = constants.examples;
  const yields = (vector) => byExample.some((made) => dot(vector, made.middle) >= SAME_MEANING * Math.max(...made.vectors.map((own) => dot(own, made.middle))));
  return background.words.flatMap((word, index) => {
    const vector = Float32Array.from(vectors.slice(index * width, (index + 1) * width));
    const isSame = texts.some(({ same }) => same?.[index]) || (background.synonyms[word] ?? []).some((one) => lowered.has(one));
    return isSame || yields(vector) ? [] : [vector];
  });
}

function stacked(rows) {
  const all = new Float32Array(rows.length * (rows[0]?.length ?? 0));
  rows.forEach((row, index) => all.set(row, index * row.length));
  return all;
}

/**
 * Scores [K + B, n] of classes, each that of its best text, and of background words, of scores [T, n] of texts and
 * cosines [G, n] of groups.
 */
function bestRows(rules, { classes, texts, groups }, { scores, cosines }, n) {
  const rows = new Float32Array(scores.length + (classes.length - texts.length) * n).fill(-Infinity);
  for (let text = 0; text < scores.length / n; text++) {
    const start = (texts[text]?.owner ?? classes.length + text - texts.length) * n;
    for (let i = 0; i < n; i++) rows[start + i] = Math.max(rows[start + i], scores[text * n + i]);
  }
  exclude(rules, rows, groups, cosines, n);
  return rows;
}

/** Takes from classes the cells that are like a group of a negative example, and more than like those of the examples. */
function exclude(rules, rows, groups, cosines, n) {
  for (const owner of new Set(groups.map((group) => group.owner))) {
    const own = groups.map((group, index) => ({ ...group, start: index * n })).filter((group) => group.owner === owner);
    const [negatives, others] = [true, false].map((sign) => own.filter(({ isNegative = false }) => isNegative === sign));
    for (let i = 0; i < n; i++) {
      const most = (some) => some.reduce((best, { start }) => Math.max(best, cosines[start + i]), -Infinity);
      const isLike = negatives.some(({ start, bound }) => cosines[start + i] >= bound);
      if (isLike && most(negatives) > most(others)) rows[owner * n + i] = rules.constants.pixel_scores.EXCLUDED;
    }
  }
}

/** Logits [K, n] of classes, with a last row for nobody where pixels may be nobody's, of what is `seen` at n cells. */
export function logitsOf(rules, bank, seen, n) {
  const { classes, drops } = bank;
  const best = bestRows(rules, bank, seen, n);
  const rows = new Float32Array((classes.length + (drops ? 1 : 0)) * n).fill(-Infinity);
  best.forEach((score, i) => {
    const at = i < classes.length * n ? i : classes.length * n + (i % n);
    rows[at] = Math.max(rows[at], score);
  });
  if (!drops) return rows;
  const { offset, margin, fades_at: fadesAt } = rules.card.background;
  const relief = Math.max(0, 1 - Math.log(classes.length) / Math.log(fadesAt));
  const least = rules.nobody + relief * offset;
  for (let i = classes.length * n; i < rows.length; i++) rows[i] = Math.max(least, rows[i] - relief * margin);
  return rows;
}

/**
 * The answer to a question about words. `seen`: scores [T, h, w] and whole [T] of the bank's texts, and cosines [G, h, w]
 * of its groups; `memory`: of a video, where nothing is dropped by a single frame, for that would flicker.
 */
export async function segmentsOf(rules, question, bank, seen, [h, w], size, memory = null) {
  const { classes, drops } = bank;
  if (!classes.length) throw new Refusal("no-classes", "Type a word first.");
  const own = logitsOf(rules, bank, seen, h * w);
  const logits = memory ? await memory.steady(own, [h, w]) : own;
  const won = winners(logits, logits.length / (h * w), [h, w], size);
  const isSemantic = (question.task ?? "semantic") === "semantic";
  const regions = { ...won, owner: classes.map((_, index) => index) };
  const { labels, votes, owner } = isSemantic ? regions : thingsOf(rules, bank, memory ? null : seen, won, size[0], question.task);
  const segments = [];
  encoded(labels, owner.length, size).forEach((one, piece) => {
    if (!one.area) return;
    const index = owner[piece];
    const isNamed = rules.card.score && classes[index].texts.length; // presence is learned for words, not for examples
    const probability = votes[piece] / one.area;
    const score = isNamed ? scoreOf(rules, bestOf(bank, seen.whole, index), probability, classes.length, one.area / labels.length) : probability;
    const least = classes[index].threshold ?? question.threshold ?? (drops && isNamed && !memory ? rules.card.score.threshold : 0);
    if (score >= least) segments.push({ id: segments.length + 1, label: classes[index].name, class_index: index, score, piece, ...one });
  });
  const numbers = memory?.follow(labels, segments, size) ?? [];
  const present = new Set(segments.map((one) => one.class_index));
  const absent = classes.filter(({ stuff }, index) => !present.has(index) && !(stuff && question.task === "instance"));
  const numbered = segments.map(({ piece: _, ...one }, index) => ({ ...one, track_id: numbers[index] ?? null }));
  return { task: question.task ?? "semantic", segments: numbered, absent: absent.map(({ name }) => name) };
}

/**
 * Connected regions of what classes won, class by class, the largest first; stuff as a whole, or not. By what is `seen`
 * in the picture only those that are believed to be whole things; all of them where it is null.
 */
function thingsOf(rules, bank, seen, { labels, probability }, height, task) {
  const { MIN_INSTANCE, TINY } = rules.constants.pixels;
  const { things: rule } = rules.card.panoptic;
  const { ids, owner, areas } = parts(labels, height); // columns are the lines of this map
  const votes = new Float64Array(owner.length);
  ids.forEach((id, pixel) => (votes[id] += probability[pixel]));
  const presence = rule && seen && presenceOf(rules, bank, seen);
  const isBelieved = (id) => {
    const [sure, large] = [votes[id] / areas[id], areas[id] / labels.length].map((share) => Math.log(Math.max(share, TINY)));
    const logit = rule.probability * sure + rule.area * large - rule.presence * Math.log1p(Math.exp(-presence[owner[id]])) + rule.bias;
    return 1 / (1 + Math.exp(-logit)) >= rule.least;
  };
  const smallest = Math.max(1, Math.trunc(MIN_INSTANCE * labels.length));
  const pieces = bank.classes.flatMap(({ stuff }, index) => {
    const own = [...owner.keys()].filter((id) => owner[id] === index);
    if (stuff) return task === "panoptic" && own.length ? [own] : [];
    const things = own.filter((id) => areas[id] >= smallest && (!presence || isBelieved(id)));
    return things.sort((one, other) => areas[other] - areas[one]).map((id) => [id]);
  });
  const numbers = new Uint16Array(owner.length).fill(pieces.length);
  pieces.forEach((some, number) => some.forEach((id) => (numbers[id] = number)));
  return {
    labels: Uint16Array.from(ids, (id) => numbers[id]),
    owner: pieces.map(([id]) => owner[id]),
    votes: pieces.map((some) => some.reduce((sum, id) => sum + votes[id], 0)),
  };
}

/** [K]: the logit of a class to be there, of its most present text and of its surest cells. */
function presenceOf(rules, bank, seen) {
  const n = seen.scores.length / seen.whole.length;
  const rows = bestRows(rules, bank, seen, n);
  const total = logSumExp(rows, rows.length / n, n).map((sum) => logSumExp([sum, rules.nobody], 2, 1)[0]);
  const surest = Math.max(1, halfToEven(rules.constants.pixel_scores.SUREST * n));
  return bank.classes.map((_, index) => {
    const sorted = rows.slice(index * n, (index + 1) * n).map((score, cell) => score - total[cell]).sort();
    return bestOf(bank, seen.whole, index) + logSumExp(sorted.subarray(n - surest), surest, 1)[0] - Math.log(surest);
  });
}

/** The highest number of a class's texts. */
function bestOf({ texts }, whole, index) {
  return texts.reduce((best, { owner }, text) => (owner === index ? Math.max(best, whole[text]) : best), -Infinity);
}

function scoreOf({ card: { score: rule }, score: { least, most } }, presence, probability, count, area) {
  const clipped = Math.min(Math.max(probability, least), 1 - least);
  const sure = rule.presence * presence + rule.probability * Math.log(clipped / (1 - clipped));
  const logit = rule.bias + sure + rule.classes * Math.log(count) + rule.area * Math.log(area);
  return 1 / (1 + Math.exp(-Math.min(Math.max(logit, -most), most)));
}

/** Warnings about words far from those of training, about commas, and about stuff as objects. */
export function warningsOf(rules, { classes, texts }, task) {
  const { name: model } = rules.card;
  const best = classes.map((_, index) => texts.filter(({ owner, text }) => text && owner === index).sort((one, other) => other.likeness - one.likeness)[0]);
  const strange = best.flatMap((one, index) => {
    if (!one || !rules.familiar || !(one.foreign || one.likeness < rules.familiar.bound)) return [];
    const why = one.foreign ? `does not look like an English word, and ${model} reads English` : `is far from every word that ${model} was trained on`;
    return [{ type: "unfamiliar-word", detail: `'${classes[index].name}' ${why}; what it marks is a guess`, field: `classes.${index}` }];
  });
  const about = (type, isMeant, detail) =>
    classes.flatMap(({ name }, index) => (isMeant(classes[index]) ? [{ type, detail: `'${name}' ${detail}`, field: `classes.${index}` }] : []));
  return [
    ...about("unsplit-words", ({ name }) => name.includes(","), "was looked for as one thing; commas never split: send each word as a class of its own"),
    ...about("stuff-as-instances", ({ stuff }) => stuff && task === "instance", "has no instances, so none was looked for; ask for semantic or panoptic"),
    ...strange,
  ];
}

/** A warning where masks are corrected by a model that takes no masks as prompts. */
export function warningsOfPrompts(rules, prompts) {
  if (rules.takes_masks || !prompts.some(({ mask }) => mask)) return [];
  const what = "takes no masks as prompts: what the points and the box show alone, or the mask's box, was added to the mask or removed from it";
  return [{ type: "no-mask-prompts", detail: `${rules.card.name} ${what}`, field: "prompts" }];
}
