// Prompts: masks for clicks and boxes, smoothed along edges and limited to their box, corrected by points, as in the service.
// A `picture` here is a view: `size` [H, W] in pixels of the question, `cells` [h, w], `shared` and `palette` (cached graph outputs), and
// `look(look)`, the view of a part. Masks are logits [h * w].

import { cut, encodedSpans, resized } from "../masks/kernel.js";
import { paint, pixelsIn, spansIn } from "../masks/runs.js";

/** The answer to a prompt: its `logits`, its mask's run lengths, area and box, and its quality. */
export async function cutOut(rules, picture, prompt, run) {
  if (prompt.mask) return correct(rules, picture, prompt, run);
  const { mask, quality } = await predict(rules, picture, prompt, run);
  return { logits: mask, quality, ...encodedSpans(cut(mask, picture.cells, picture.size), picture.size) };
}

/** The head's mask for a prompt, negative points included. */
export async function predict(rules, picture, prompt, run) {
  const look = prompt.box && picture.kept ? await lookAt(picture, prompt, run) : null;
  const { mask, quality } = await (look ? lookedAt(rules, picture, look, run) : smoothed(rules, picture, prompt, run));
  const rest = { quality: [Float32Array.of(quality), [1]], is_near: [Float32Array.of(look ? 1 : 0), []] };
  const { finished } = await run("finish-mask", { ...inputsOf(picture, prompt), mask, ...rest });
  return { mask: finished.data, quality };
}

/** Mask and quality of a prompt by the graphs, smoothed along the picture's edges, and corrected from the first negative point on. */
async function smoothed(rules, picture, prompt, run) {
  const [{ points = [], box }, corrections] = beforeCorrections(prompt);
  const shown = { ...inputsOf(picture, { points, box }), ...(await picture.shared()) };
  const isClick = !box && points.length === 1 && points[0].positive !== false;
  const { masks, quality } = await (isClick ? run("lone-point", { ...shown, point: [shown.points[0], [2]] }) : run("sure-prompt", shown));
  const some = prompt.smallest ? smallestAround(picture, points[0], masks, quality) : { masks, quality };
  const { mask, sure } = await run("choose-mask", { ...shown, ...some, ...(await picture.palette()) });
  const answer = { mask, quality: sure.data[0] };
  return corrections.length ? corrected(rules, picture, answer, [...points, ...corrections], points.length, run) : answer;
}

/** Of the head's masks for a point the smallest that holds it; all where none does. */
function smallestAround({ size: [H, W], cells }, { x, y }, masks, quality) {
  const n = masks.data.length / quality.data.length;
  const pixel = Math.min(Math.floor(x), W - 1) * H + Math.min(Math.floor(y), H - 1);
  const each = Array.from(quality.data, (logit, i) => ({ mask: masks.data.slice(i * n, (i + 1) * n), logit }));
  const holding = each.filter(({ mask }) => cut(mask, cells, [H, W]).findIndex((border) => border > pixel) % 2 === 1);
  if (!holding.length) return { masks, quality };
  const areaOf = ({ mask }) => mask.filter((logit) => logit >= 0).length;
  const { mask, logit } = holding.reduce((least, one) => (areaOf(one) < areaOf(least) ? one : least));
  return { masks: [mask, [1, ...cells]], quality: [Float32Array.of(logit), [1]] };
}

const bySign = (points = []) => [true, false].map((sign) => points.filter(({ positive = true }) => positive === sign));

/** What a prompt shows before its first negative point, and the points that correct this; as `prompting.before_corrections`. */
function beforeCorrections(prompt) {
  const { points = [], box } = prompt;
  const [positives, negatives] = bySign(points);
  if (!negatives.length || (!box && !positives.length)) return [prompt, []];
  const leading = points.indexOf(negatives[0]);
  const [first, rest] = leading || box ? [points.slice(0, leading), points.slice(leading)] : [positives, negatives];
  return [{ ...prompt, points: first }, rest];
}

/** An answer corrected by one point after the other, beyond those that it follows already; as `prompting.correct_mask`. */
async function corrected(rules, picture, answer, points, first, run) {
  for (let number = 1; number <= Math.min(rules.prompts.max_answers, points.length - first); number += 1) {
    const some = number === rules.prompts.max_answers ? points : points.slice(0, first + number);
    const correction = { corrected: answer.mask, corrects: [Float32Array.of(1), []] };
    const { masks, quality } = await run("sure-prompt", { ...inputsOf(picture, { points: some }), ...(await picture.shared()), ...correction });
    answer = { mask: [masks.data, picture.cells], quality: 1 / (1 + Math.exp(-quality.data[0])) };
  }
  return answer;
}

/** Coordinates [x, y, x, y, ...] scaled from a picture of size `from` [height, width] to size `to`. */
const scaled = (places, from, to) => places.map((place, i) => (place * to[1 - (i % 2)]) / from[1 - (i % 2)]);

/** A prompt that corrects no mask as inputs of the graphs. */
export function inputsOf(picture, { points = [], box = null }) {
  const K = Math.max(1, points.length); // sign 0: padding
  const [places, signs] = [new Float32Array(2 * K), new Float32Array(K)];
  places.set(points.flatMap(({ x, y }) => scaled([x, y], picture.size, picture.tile)));
  signs.set(points.map(({ positive = true }) => (positive ? 1 : -1)));
  return {
    points: [places, [K, 2]],
    signs: [signs, [K]],
    box: [Float32Array.from(box ? scaled(box, picture.size, picture.tile) : [0, 0, 0, 0]), [4]],
    has_box: [Float32Array.of(box ? 1 : 0), []],
    corrected: [new Float32Array(picture.cells[0] * picture.cells[1]), picture.cells],
    corrects: [Float32Array.of(0), []],
  };
}

/** The crop {top, left, bottom, right, input [h, w]} for a closer look, with the prompt moved to it; null without one. */
async function lookAt({ size, tile, kept }, { points = [], box }, run) {
  const numbers = (values, dims) => [Float64Array.from(values), dims];
  const places = points.length ? points : [{ x: 0, y: 0, positive: false }];
  const made = await run("look-at", {
    points: numbers(places.flatMap(({ x, y }) => [x, y]), [places.length, 2]),
    signs: numbers(places.map(({ positive = true }) => (positive ? 1 : -1)), [places.length]),
    box: numbers(box, [4]),
    size: numbers(size, [2]),
    tile: numbers(tile, [2]),
    kept: numbers(kept.size, [2]),
  });
  if (!made.looks.data[0]) return null;
  const [top, left, bottom, right] = made.span.data;
  const [moved, inside] = [made.moved_points.data, made.inside.data];
  const own = points.map((point, i) => ({ ...point, x: moved[2 * i], y: moved[2 * i + 1] })).filter((_, i) => inside[i]);
  return { crop: { top, left, bottom, right, input: [...made.shape.data] }, prompt: { points: own, box: [...made.moved_box.data] } };
}

/** `smoothed` on an enlarged crop; each cell of the picture is the mean of the crop's cells that it covers. */
async function lookedAt(rules, picture, { crop, prompt }, run) {
  const { kept: { size }, cells: [h, w] } = picture;
  const { mask, quality } = await smoothed(rules, await picture.look(crop), prompt, run);
  const span = [crop.top / size[0], crop.left / size[1], crop.bottom / size[0], crop.right / size[1]];
  const indices = (count) => [BigInt64Array.from({ length: count }, (_, cell) => BigInt(cell)), [count]];
  const place = { span: [Float32Array.from(span, (share, i) => share * (i % 2 ? w : h)), [4]], rows: indices(h), columns: indices(w) };
  return { mask: (await run("widen", { mask, ...place })).whole, quality };
}

/** A mask with the corrections of `mask_prompts.correct`: the head tells what it is after each point. */
async function correct(rules, picture, { points = [], box, mask }, run) {
  const { certain, max_answers: maxAnswers } = rules.prompts;
  const { cells, size, cells: [h, w], size: [H, W] } = picture;
  const [positives, negatives] = bySign(points);
  const pixels = pixelsIn(size, [mask]);
  const shares = resized(pixels, [W, H], [w, h], 1, 1, false, Float32Array); // share of each cell that the mask covers
  let logits = Float32Array.from(shares, (_, i) => (2 * shares[(i % w) * h + Math.floor(i / w)] - 1) * certain);
  let quality = 0;
  const after = (point) => corrected(rules, picture, { mask: [logits, cells] }, [point], 0, run);
  for (const one of box ? [{ points: positives, box }] : positives.map((point) => ({ points: [point], smallest: true }))) {
    const shown = await predict(rules, picture, one, run);
    const stays = box ? null : await after(one.points[0]);
    const added = stays ? shown.mask.map((logit, cell) => Math.min(logit, stays.mask[0][cell] + rules.prompts.stays_out)) : shown.mask;
    paint(pixels, cut(added, cells, size), 1);
    logits = logits.map((logit, cell) => Math.max(logit, added[cell]));
    quality = shown.quality;
  }
  for (const [number, point] of negatives.entries()) {
    const answer = number < maxAnswers ? await after(point) : { mask: [logits.map(() => certain)], quality };
    quality = answer.quality;
    const { removed, left } = await run("removed-object", {
      mask: [logits, cells],
      shown: [answer.mask[0].map((logit) => -logit), cells],
      point: [Float32Array.of(point.x, point.y), [1, 2]],
      positives: [Float32Array.from(positives.flatMap(({ x, y }) => [x, y])), [positives.length, 2]],
      size: [Float32Array.from(size), [2]],
    });
    paint(pixels, cut(removed.data, cells, size), 0);
    logits = left.data;
  }
  return { logits, quality, ...encodedSpans(spansIn(pixels), size) };
}
