// Prompts: masks for clicks and boxes, refined by the object's colours, its box and its points, as in the service.
//
// A `picture` here is a view: `size` [H, W] in pixels of the question, `cells` [h, w], `shared` and `palette` (cached graph
// outputs), and `look(look)`, the view of a part. Masks are logits [h * w].

import { axis, cut, resized, scaled } from "./maps.js";
import { encoded, paint, parts } from "../masks.js";

/** The answer to a prompt: its `logits`, its mask's run lengths, area and box, and its quality. */
export async function cutOut(rules, picture, prompt, run) {
  if (prompt.mask) return correct(rules, picture, prompt, run);
  const { mask, quality } = await withPoints(rules, picture, prompt, run);
  return { logits: mask, quality, ...encoded(cut(mask, picture.cells, picture.size), 2, picture.size)[1] };
}

/** The mask without negative points, minus the part that the head's answer to each negative point removes. */
async function withPoints(rules, picture, prompt, run) {
  const { OUTSIDE, MAX_ANSWERS } = rules.constants.negative_points;
  const [positives, negatives] = bySign(prompt.points);
  if (!negatives.length || (!positives.length && !prompt.box)) return predict(rules, picture, prompt, run);
  const first = await predict(rules, picture, { ...prompt, points: positives }, run);
  const replies = [];
  for (let n = 1; n <= Math.min(negatives.length, MAX_ANSWERS); n++) {
    replies.push(await predict(rules, picture, { ...prompt, points: [...positives, ...negatives.slice(0, n)] }, run));
  }
  const { cells: [, w] } = picture;
  const left = Float32Array.from(first.mask);
  const corners = positives.map((point) => neighbours(point, picture));
  const toPositive = (cell) => Math.min(Infinity, ...corners.map(([first]) => distance(cell, first, w)));
  negatives.forEach((point, number) => {
    const { mask: answer } = replies[Math.min(number, replies.length - 1)];
    const cells = neighbours(point, picture);
    const inside = Uint8Array.from(left, (logit) => Number(logit >= 0));
    let removed = partAround(inside.map((each, cell) => each && Number(answer[cell] < 0)), cells, w);
    if (corners.some((some) => some.some((cell) => removed[cell]))) {
      removed = partAround(removed.map((each, cell) => each && Number(distance(cell, cells[0], w) < toPositive(cell))), cells, w);
    }
    if (removed.includes(1)) removed.forEach((each, cell) => each && (left[cell] = Math.min(left[cell], answer[cell])));
    else if (cells.some((cell) => inside[cell])) discOf(rules, inside, cells, corners, w).forEach((each, cell) => each && (left[cell] = OUTSIDE));
    for (const cell of cells) left[cell] = Math.min(left[cell], OUTSIDE);
  });
  return { mask: left, quality: replies.at(-1).quality };
}

const bySign = (points = []) => [true, false].map((sign) => points.filter(({ positive = true }) => positive === sign));

/** The head's mask for a prompt, negative points included. */
export async function predict(rules, picture, prompt, run) {
  const look = lookAt(rules, picture, prompt);
  const { mask, quality } = await (look ? lookedAt(picture, look, prompt, run) : coloured(picture, prompt, run));
  if (!isExact(prompt)) return { mask: mask.data, quality };
  const place = { quality: [Float32Array.of(quality), [1]], is_near: [Float32Array.of(look ? 1 : 0), []] };
  const { clipped } = prompt.box ? await run("clip", { ...inputsOf(picture, prompt), mask, ...place }) : { clipped: mask };
  return { mask: withoutCrumbs(clipped.data, picture.cells[1], rules.settings.crumbs), quality };
}

/** Mask and quality of a prompt by the graphs; refined by the object's colours, unless the prompt is rough. */
async function coloured(picture, prompt, run) {
  const { points = [], box } = prompt;
  const shown = { ...inputsOf(picture, prompt), ...(await picture.shared()) };
  const isClick = !box && points.length === 1 && points[0].positive !== false;
  const { masks, quality } = await (isClick ? run("lone-point", { ...shown, point: [shown.points[0], [2]] }) : run("sure-prompt", shown));
  if (!isExact(prompt)) return { mask: masks, quality: 1 / (1 + Math.exp(-quality.data[0])) };
  const { mask, sure } = await run("choose-mask", { ...shown, masks, quality, ...(await picture.palette()) });
  return { mask, quality: sure.data[0] };
}

/** A prompt as inputs of the graphs. */
export function inputsOf(picture, { points = [], box }) {
  const K = Math.max(1, points.length); // sign 0: padding
  const [places, signs] = [new Float32Array(2 * K), new Float32Array(K)];
  places.set(points.flatMap(({ x, y }) => scaled([x, y], picture.size, picture.tile)));
  signs.set(points.map(({ positive = true }) => (positive ? 1 : -1)));
  return {
    points: [places, [K, 2]],
    signs: [signs, [K]],
    box: [Float32Array.from(box ? scaled(box, picture.size, picture.tile) : [0, 0, 0, 0]), [4]],
    has_box: [Float32Array.of(box ? 1 : 0), []],
  };
}

function isExact({ box, points = [] }) {
  return !box || points.every(({ x, y, positive = true }) => !positive || (box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]));
}

/** Flips the sign of small islands and holes. */
function withoutCrumbs(mask, w, rule) {
  const inside = Uint8Array.from(mask, (logit) => Number(logit > 0));
  const { ids, owner, areas } = parts(inside, w);
  const outer = new Uint8Array(owner.length); // parts at the picture's edge are not holes
  ids.forEach((id, cell) => {
    if (cell < w || cell >= ids.length - w || cell % w === 0 || cell % w === w - 1) outer[id] = 1;
  });
  const held = inside.reduce((sum, each) => sum + each, 0);
  const largest = owner.reduce((most, label, id) => (label ? Math.max(most, areas[id]) : most), 0);
  const crumb = owner.map((label, id) => (label ? areas[id] < rule.island * largest : !outer[id] && areas[id] < rule.hole * held));
  return mask.map((logit, cell) => (crumb[ids[cell]] ? -logit : logit));
}

// A closer look at small boxes: `look` is a region {top, left, bottom, right} of the kept picture and its `input` size [h, w]

function lookAt(rules, { kept, tile, size }, prompt) {
  if (!kept || !prompt.box || prompt.glance || !isExact(prompt)) return null;
  const { looks: rule } = rules.settings;
  const { multiple } = rules.card.input;
  const [x0, y0, x1, y1] = scaled(prompt.box, size, tile);
  const [wide, high] = [x1 - x0, y1 - y0].map((side) => rule.around * Math.max(side, 1));
  let [across, down] = [Math.max(wide, high / 2), Math.max(high, wide / 2)];
  const larger = Math.max(1, rules.constants.closer_look.MIN_SIDE / Math.sqrt(across * down));
  [across, down] = [Math.min(across * larger, tile[1]), Math.min(down * larger, tile[0])];
  const times = Math.min(rule.most, rule.side / Math.sqrt(across * down), Math.max(...tile) / Math.max(across, down));
  if (times < rule.least) return null;
  const [left, right] = span((x0 + x1) / 2, across, tile[1], kept.size[1]);
  const [top, bottom] = span((y0 + y1) / 2, down, tile[0], kept.size[0]);
  const sides = [((bottom - top) * tile[0]) / kept.size[0], ((right - left) * tile[1]) / kept.size[1]];
  return { top, left, bottom, right, input: sides.map((side) => Math.max(multiple, Math.round((side * times) / multiple) * multiple)) };
}

function span(middle, length, ofTile, ofKept) {
  const start = Math.round((Math.min(Math.max(middle - length / 2, 0), ofTile - length) * ofKept) / ofTile);
  return [start, Math.min(ofKept, start + Math.ceil((length * ofKept) / ofTile))];
}

/** `coloured` on an enlarged part; each cell of the picture is the mean of the part's cells that it covers. */
async function lookedAt(picture, look, prompt, run) {
  const { kept: { size }, cells: [h, w] } = picture;
  const toPart = (places) => scaled(places, picture.size, size).map((place, i) => place - (i % 2 ? look.top : look.left));
  const isInside = ([x, y]) => x >= 0 && y >= 0 && x <= look.right - look.left && y <= look.bottom - look.top;
  const points = (prompt.points ?? []).flatMap(({ x, y, ...one }) => {
    const place = toPart([x, y]);
    return isInside(place) ? [{ x: place[0], y: place[1], ...one }] : [];
  });
  const { mask, quality } = await coloured(await picture.look(look), { ...prompt, points, box: toPart(prompt.box) }, run);
  const span = [look.top / size[0], look.left / size[1], look.bottom / size[0], look.right / size[1]];
  const indices = (count) => [BigInt64Array.from({ length: count }, (_, cell) => BigInt(cell)), [count]];
  const place = { span: [Float32Array.from(span, (share, i) => share * (i % 2 ? w : h)), [4]], rows: indices(h), columns: indices(w) };
  return { mask: (await run("widen", { mask, ...place })).whole, quality };
}

/** The cells between which the pixel of a point is interpolated. */
function neighbours({ x, y }, { cells, size }) {
  const [rows, columns] = [y, x].map((place, side) => {
    const { low, weight } = axis(cells[side], size[side]);
    const pixel = Math.min(Math.floor(place), size[side] - 1);
    return [low[pixel], low[pixel] + 1].slice(Math.floor(weight[pixel])); // at the edges the pixel is on a cell
  });
  return rows.flatMap((row) => columns.map((column) => row * cells[1] + column));
}

const distance = (one, other, w) => Math.hypot(Math.floor(one / w) - Math.floor(other / w), (one % w) - (other % w));

/** The disc of a mask around some cells; its radius is a share of the distance to the outline or the nearest `corners`. */
function discOf(rules, inside, cells, corners, w) {
  const depths = cells.map((cell) => {
    const [row, column] = [Math.floor(cell / w), cell % w];
    const toEdge = Math.min(row + 1, column + 1, inside.length / w - row, w - column); // of the picture
    return inside.reduce((least, each, other) => (each ? least : Math.min(least, distance(cell, other, w))), toEdge);
  });
  const reach = Math.min(...corners.flat().map((cell) => distance(cell, cells[0], w)), Math.max(...depths));
  return inside.map((each, cell) => each && Number(distance(cell, cells[0], w) < rules.constants.negative_points.DISC * reach));
}

/** The connected parts of a region that contain one of some cells. */
function partAround(region, cells, w) {
  const { ids } = parts(region, w);
  const touched = new Set(cells.map((cell) => ids[cell]));
  return region.map((each, cell) => each && Number(touched.has(ids[cell])));
}

// Corrections of a mask: positive points and the box add to it, a negative point removes the object that a click there selects

async function correct(rules, picture, { points = [], box, mask }, run) {
  const { constants: { mask_prompts: { CERTAIN }, negative_points: { MAX_ANSWERS } } } = rules;
  const { cells, size } = picture;
  const [positives, negatives] = bySign(points);
  const [[h, w], [H, W]] = [cells, size];
  const pixels = new Uint8Array(H * W); // column-major
  paint(pixels, mask, 1);
  const shares = resized(pixels, [W, H], [w, h], 1, 1, false, Float32Array); // share of each cell that the mask covers
  let logits = Float32Array.from(shares, (_, i) => (2 * shares[(i % w) * h + Math.floor(i / w)] - 1) * CERTAIN);
  const repaint = (shown, number) => cut(shown, cells, size).forEach((each, pixel) => each && (pixels[pixel] = number));
  let quality = 0;
  if (positives.length || box) {
    const added = await predict(rules, picture, { points: positives, box }, run);
    repaint(added.mask, 1);
    logits = logits.map((logit, cell) => Math.max(logit, added.mask[cell]));
    quality = added.quality;
  }
  const around = positives.map((point) => neighbours(point, picture));
  let shown;
  for (const [number, point] of negatives.entries()) {
    if (number < MAX_ANSWERS) ({ mask: shown, quality } = await predict(rules, picture, { points: [{ ...point, positive: true }] }, run));
    else shown = logits.map(() => -CERTAIN);
    const removed = removedFrom(rules, logits, shown, neighbours(point, picture), around, w);
    repaint(removed, 0);
    logits = logits.map((logit, cell) => (removed[cell] >= 0 ? Math.min(logit, -removed[cell]) : logit));
  }
  return { logits, quality, ...encoded(pixels, 2, size)[1] };
}

/** Logits of the part that a negative point at some cells removes; `shown`: the mask of a click there. */
function removedFrom(rules, logits, shown, at, positives, w) {
  const { constants: { mask_prompts: { CERTAIN, MAX_REMOVED }, negative_points: { OUTSIDE } } } = rules;
  const inside = Uint8Array.from(logits, (logit) => Number(logit >= 0));
  const both = inside.map((each, cell) => each && Number(shown[cell] >= 0));
  const part = partAround(both, at, w);
  const [some, all] = [part, inside].map((cells) => cells.reduce((sum, each) => sum + each, 0));
  const isObject = some && some <= MAX_REMOVED * all && !positives.flat().some((cell) => part[cell]);
  const disc = discOf(rules, inside, at, positives, w);
  const removed = shown.map((logit, cell) => {
    if (isObject) return both[cell] && !part[cell] ? -CERTAIN : logit;
    return disc[cell] ? CERTAIN : -CERTAIN;
  });
  for (const cell of at) removed[cell] = Math.max(removed[cell], -OUTSIDE);
  return removed;
}
