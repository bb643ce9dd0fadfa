// Words: classes and background compete for every cell, and segments are made of what they won. The numbers are the card's.

import { encoded, parts, sides, winners } from "./maps.js";
import { Refusal } from "./refusal.js";

const MAX_WARNINGS = 16;

/** The classes of a question, read: `entries` {name, threshold, texts}, `texts` and their `owner`, with the background behind them. */
export async function bankOf(rules, question, read) {
  const entries = (question.classes ?? []).map((one) => (typeof one === "string" ? { name: one } : one));
  const classes = entries.map(({ name, synonyms = [], threshold }) => ({ name, threshold, texts: [name, ...synonyms] }));
  const texts = [];
  for (const [index, { texts: some }] of classes.entries()) {
    for (const text of some) texts.push({ text, owner: index, ...(await read(text)) });
  }
  const drops = question.background !== false;
  const words = drops ? competing(rules, texts) : [];
  const vectors = stacked([...texts.map(({ vector }) => vector), ...words]);
  const levels = Float32Array.from([...texts.map(({ level }) => level), ...words.map(() => 0)]);
  return { classes, texts, drops, vectors, levels };
}

/** Vectors of the background words that no text means the same as. */
function competing({ card: { background }, background: vectors }, texts) {
  const width = vectors.length / background.words.length;
  const asked = new Set(texts.map(({ text }) => text.toLowerCase()));
  const stays = (word, index) => !texts.some(({ same }) => same[index]) && !(background.synonyms[word] ?? []).some((one) => asked.has(one));
  return background.words.flatMap((word, index) => (stays(word, index) ? [Float32Array.from(vectors.slice(index * width, (index + 1) * width))] : []));
}

function stacked(rows) {
  const all = new Float32Array(rows.length * (rows[0]?.length ?? 0));
  rows.forEach((row, index) => all.set(row, index * row.length));
  return all;
}

/** Logits [K, n] of classes, with a last row for nobody where pixels may be nobody's, of scores [T, n] of texts. */
export function logitsOf(rules, bank, scores, n, threshold) {
  const { classes, texts, drops } = bank;
  const rows = new Float32Array((classes.length + (drops ? 1 : 0)) * n).fill(-Infinity);
  const raise = (target, text) => {
    for (let i = 0; i < n; i++) rows[target * n + i] = Math.max(rows[target * n + i], scores[text * n + i]);
  };
  texts.forEach(({ owner }, text) => raise(owner, text));
  if (!drops) return rows;
  for (let text = texts.length; text < scores.length / n; text++) raise(classes.length, text);
  const { offset, margin, fades_at: fadesAt } = rules.card.background;
  const relief = Math.max(0, 1 - Math.log(classes.length) / Math.log(fadesAt));
  const clipped = threshold == null ? 0.5 : Math.min(Math.max(threshold, 1e-6), 1 - 1e-6);
  const least = rules.nobody + Math.log(clipped / (1 - clipped)) + relief * offset;
  for (let i = classes.length * n; i < rows.length; i++) rows[i] = Math.max(least, rows[i] - relief * margin);
  return rows;
}

/** The answer to a question about words. `seen`: scores [T, h, w] and whole [T] of the bank's texts. */
export function segmentsOf(rules, question, bank, seen, [h, w], size) {
  const { classes, drops } = bank;
  if (!classes.length) throw new Refusal("no-classes", "Type a word first.");
  const logits = logitsOf(rules, bank, seen.scores, h * w, question.threshold);
  withoutSpecks(logits, logits.length / (h * w), w, classes.length, rules.settings.specks);
  const { labels, votes } = winners(logits, logits.length / (h * w), [h, w], size);
  const segments = [];
  encoded(labels, classes.length, size).forEach((one, index) => {
    if (!one.area) return;
    const score = scoreOf(rules, bestOf(bank, seen.whole, index), votes[index] / one.area, classes.length, one.area / labels.length);
    const least = classes[index].threshold ?? question.threshold ?? (drops && rules.card.score ? rules.card.score.threshold : 0);
    if (score >= least) segments.push({ id: segments.length + 1, label: classes[index].name, class_index: index, score, ...one });
  });
  const there = new Set(segments.map((one) => one.class_index));
  const absent = classes.filter((_, index) => !there.has(index)).map(({ name }) => name);
  return { task: "semantic", segments, absent };
}

/** The highest number of a class's texts. */
function bestOf({ texts }, whole, index) {
  return texts.reduce((best, { owner }, text) => (owner === index ? Math.max(best, whole[text]) : best), -Infinity);
}

function scoreOf({ card: { score: rule }, score: { least, most } }, presence, probability, count, area) {
  if (!rule) return probability;
  const clipped = Math.min(Math.max(probability, least), 1 - least);
  const sure = rule.presence * presence + rule.probability * Math.log(clipped / (1 - clipped));
  const logit = rule.bias + sure + rule.classes * Math.log(count) + rule.area * Math.log(area);
  return 1 / (1 + Math.exp(-Math.min(Math.max(logit, -most), most)));
}

/** Gives small regions to the label around them: at their cells the logits of the two are exchanged. */
function withoutSpecks(logits, count, width, nClasses, rule) {
  if (!rule.area) return;
  const cells = logits.length / count;
  const labels = new Uint16Array(cells);
  for (let cell = 0; cell < cells; cell++) {
    for (let label = 1; label < count; label++) if (logits[label * cells + cell] > logits[labels[cell] * cells + cell]) labels[cell] = label;
  }
  const { ids, owner, areas } = parts(labels, width);
  const largest = new Float64Array(count);
  owner.forEach((label, id) => (largest[label] = Math.max(largest[label], areas[id] / cells)));
  const speck = owner.map((label, id) => {
    const share = areas[id] / cells;
    return share < rule.least || (share < rule.area && (label === nClasses || share < rule.part * largest[label]));
  });
  const border = new Map(); // of a speck: how many sides it shares with each label
  ids.forEach((id, cell) => {
    if (!speck[id]) return;
    const votes = border.get(id) ?? border.set(id, new Uint32Array(count)).get(id);
    for (const other of sides(cell, width, cells)) if (!speck[ids[other]]) votes[labels[other]] += 1;
  });
  ids.forEach((id, cell) => {
    const votes = border.get(id);
    const heir = votes ? votes.indexOf(Math.max(...votes)) : labels[cell];
    if (heir === labels[cell] || !votes[heir]) return;
    const [of, to] = [labels[cell] * cells + cell, heir * cells + cell];
    [logits[of], logits[to]] = [logits[to], logits[of]];
  });
}

/** Warnings about words far from those of training, and about commas. */
export function warningsOf(rules, { classes, texts }) {
  const { name: model } = rules.card;
  const best = classes.map((_, index) => texts.filter(({ owner }) => owner === index).reduce((one, other) => (other.likeness > one.likeness ? other : one)));
  const strange = best.flatMap((one, index) => (rules.familiar && (one.foreign || one.likeness < rules.familiar.bound) ? [index] : []));
  const shown = strange.length > MAX_WARNINGS ? strange.slice(0, MAX_WARNINGS - 1) : strange;
  const each = shown.map((index) => {
    const { nearest, likeness, foreign } = best[index];
    const what = foreign
      ? `does not look like an English word, and ${model} reads English; what it marks is a guess (the nearest word of training is '${nearest}')`
      : `is far from every word that ${model} was trained on; what it marks is a guess (the nearest is '${nearest}' with a likeness of ` +
        `${likeness.toFixed(2)}, familiar words have ${rules.familiar.bound.toFixed(2)})`;
    return { type: "unfamiliar-word", detail: `'${classes[index].name}' ${what}`, field: `classes.${index}` };
  });
  if (shown.length < strange.length) {
    const rest = strange.slice(shown.length).map((index) => `'${classes[index].name}'`);
    const names = rest.slice(0, 5).join(", ") + (rest.length > 5 ? ", ..." : "");
    const detail = `${rest.length} of ${classes.length} classes are far from every word that ${model} was trained on; what it marks as these is a guess: ${names}`;
    each.push({ type: "unfamiliar-word", detail, field: "classes" });
  }
  const unsplit = classes.flatMap(({ name }, index) => {
    const detail = `'${name}' was looked for as one thing; commas never split: send each word as a class of its own`;
    return name.includes(",") ? [{ type: "unsplit-words", detail, field: `classes.${index}` }] : [];
  });
  return [...unsplit.slice(0, MAX_WARNINGS), ...each];
}
