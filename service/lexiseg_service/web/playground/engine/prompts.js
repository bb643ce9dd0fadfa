// Clicks and boxes: what the head cuts out, improved by the object's own colours, its box and its points, as the service does.
//
// A picture in here is a view of one: `size` [H, W] in pixels of the questions, `cells` [h, w], `guide` (bytes of the planes at
// twice the cells), `shared` (what the head's graphs share), and `look(look)`, the view of a part. Masks are logits [h * w].

import { cut, encoded, parts, sides } from "./maps.js";
import { runsOf } from "../masks.js";

/** The answer to a prompt: its `logits`, its mask's run lengths, area and box, and its quality. */
export async function cutOut(rules, picture, prompt, run) {
  if (prompt.mask) return correct(rules, picture, prompt, run);
  const { masks: [mask], quality } = await withPoints(rules, picture, prompt, run);
  return { logits: mask, quality, ...encoded(cut(mask, picture.cells, picture.size), 2, picture.size)[1] };
}

/** The mask of a prompt without its negative points, less what each of these removes. */
async function withPoints(rules, picture, prompt, run) {
  const [positives, negatives] = bySign(prompt.points);
  if (!negatives.length || (!positives.length && !prompt.box)) return predict(rules, picture, prompt, run);
  const first = await predict(rules, picture, { ...prompt, points: positives }, run);
  const { mask, quality } = await reduced(rules, picture, first.masks[0], prompt, run);
  return { masks: [mask], quality };
}

/** Positive and negative points. */
export function bySign(points = []) {
  return [true, false].map((sign) => points.filter(({ positive = true }) => positive === sign));
}

/** The mask of a prompt, with its negative points as the head takes them. */
export async function predict(rules, picture, prompt, run) {
  const { settings } = rules;
  const look = lookAt(rules, picture, prompt);
  const box = prompt.box && scaled(picture, prompt.box);
  let mask;
  let quality;
  if (look) {
    const part = await picture.look(look);
    [mask, quality] = await coloured(rules, part, movedInto(picture, look, prompt), run);
    mask = onCells(rules, picture, mask, part.cells, look);
  } else [mask, quality] = await coloured(rules, picture, prompt, run);
  if (!isExact(prompt)) return { masks: [mask], quality };
  if (box) mask = keptInside(rules, mask, quality, box, look ? settings.looks.boxes : settings.boxes, picture.cells);
  return { masks: [withoutCrumbs(mask, picture.cells[1], settings.crumbs)], quality };
}

/** What the graphs make of a prompt, its first choice, with the object's colours. */
async function coloured(rules, picture, prompt, run) {
  const { points = [], box } = prompt;
  const shared = await picture.shared();
  const [h, w] = picture.cells;
  if (points.length === 1 && !box && points[0].positive !== false) {
    const { masks, quality } = await run("lone-point", { point: [Float32Array.from(scaled(picture, [points[0].x, points[0].y])), [2]], ...shared });
    const each = [...quality.data].map((_, index) => masks.data.slice(index * h * w, (index + 1) * h * w));
    const sure = [...quality.data].map(sigmoid);
    const worth = each.map((mask, index) => sure[index] + evidence(rules, picture, mask));
    const best = worth.indexOf(Math.max(...worth));
    return [byColours(rules, picture, each[best], null), sure[best]];
  }
  const K = Math.max(1, points.length);
  const places = new Float32Array(2 * K);
  places.set(points.flatMap(({ x, y }) => scaled(picture, [x, y])));
  const signs = new Float32Array(K);
  signs.set(points.map(({ positive = true }) => (positive ? 1 : -1)));
  const scaledBox = Float32Array.from(box ? scaled(picture, box) : [0, 0, 0, 0]);
  const inputs = { points: [places, [K, 2]], signs: [signs, [K]], box: [scaledBox, [4]], has_box: [Float32Array.of(box ? 1 : 0), []] };
  const { masks, quality } = await run("sure-prompt", { ...inputs, ...shared });
  const mask = Float32Array.from(masks.data);
  return [isExact(prompt) ? byColours(rules, picture, mask, box ? scaledBox : null) : mask, sigmoid(quality.data[0])];
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

/** [x, y, ...] of the image in pixels of the network's input. */
function scaled({ cells: [h, w], size: [H, W] }, places) {
  return places.map((place, index) => (place * 4 * (index % 2 ? h : w)) / (index % 2 ? H : W));
}

function isExact({ box, points = [] }) {
  return !box || points.every(({ x, y, positive = true }) => !positive || (box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]));
}

/** What a mask shows of itself beside the quality that is expected of it: stability, area, colours along its outline. */
function evidence(rules, picture, mask) {
  const { AROUND, EVERY, MIN_SHARE } = rules.constants.click_order;
  const { stability, area: ofArea, edges: ofEdges } = rules.settings.clicks;
  const [h, w] = picture.cells;
  let [area, inner, outer, cells, edges, borders] = [0, 0, 0, 0, 0, 0];
  const { colours } = picture;
  const contrast = (a, b) => {
    const [red, green, blue] = [colours[a] - colours[b], colours[h * w + a] - colours[h * w + b], colours[2 * h * w + a] - colours[2 * h * w + b]];
    return Math.sqrt(red * red + green * green + blue * blue);
  };
  for (let cell = 0; cell < h * w; cell++) {
    const [row, column] = [Math.floor(cell / w), cell % w];
    if (row % EVERY === 0 && column % EVERY === 0) {
      cells += 1;
      area += Number(mask[cell] > 0);
      inner += Number(mask[cell] > AROUND);
      outer += Number(mask[cell] > -AROUND);
    }
    for (const [other, isThere] of [[cell + 1, column < w - 1], [cell + w, row < h - 1]]) {
      if (!isThere || mask[cell] > 0 === mask[other] > 0) continue;
      borders += 1;
      edges += contrast(cell, other);
    }
  }
  const stable = inner / Math.max(outer, 1e-6 * cells);
  return stability * stable + ofArea * Math.log(area / cells + MIN_SHARE) + (ofEdges * edges) / (borders + 1);
}

// Colours: histograms inside and outside of a mask, and smoothing along the edges of the picture

/** What colours are compared by: of a view's guide its `colours` [3, h, w], their `bins` [h * w] and its neighbours' `alike`. @param {number[]} cells */
export function paletteOf(rules, guide, cells) {
  const [h, w] = cells;
  const { AXES, BINS, WIDTH, SMOOTHING } = rules.constants.mask_rules;
  const { MEAN, STD } = rules.constants.network;
  const n = h * w;
  const colours = new Float32Array(3 * n);
  for (let i = 0; i < 3 * n; i++) {
    const [plane, row, column] = [Math.floor(i / n), Math.floor((i % n) / w), i % w];
    const at = plane * 4 * n + 4 * row * w + 2 * column;
    const mean = (guide[at] + guide[at + 1] + guide[at + 2 * w] + guide[at + 2 * w + 1]) / 4;
    colours[i] = (mean - MEAN[plane]) / STD[plane];
  }
  const bins = new Int32Array(n);
  for (const axis of AXES) {
    const values = Float64Array.from({ length: n }, (_, i) => axis[0] * colours[i] + axis[1] * colours[n + i] + axis[2] * colours[2 * n + i]);
    const mean = values.reduce((sum, value) => sum + value, 0) / n;
    const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n) + 0.01;
    values.forEach((value, i) => {
      const place = Math.trunc(((value - mean) / (WIDTH * spread) + 0.5) * BINS);
      bins[i] = bins[i] * BINS + Math.min(Math.max(place, 0), BINS - 1);
    });
  }
  return { colours, bins, alike: affinity(rules, colours, [h, w], SMOOTHING.dilations) };
}

/** For each cell its neighbours and how much each counts: [n, neighbours] of both. */
function affinity(rules, colours, [h, w], dilations) {
  const { NEIGHBOURS, SHARPNESS, EPSILON } = rules.constants.pamr;
  const [n, count] = [h * w, dilations.length * NEIGHBOURS.length];
  const [places, weights] = [new Int32Array(n * count), new Float32Array(n * count)];
  const samples = count + dilations.length;
  const within = (value, end) => Math.min(Math.max(value, 0), end - 1);
  for (let cell = 0; cell < n; cell++) {
    const [row, column] = [Math.floor(cell / w), cell % w];
    const start = cell * count;
    dilations.forEach((far, ring) =>
      NEIGHBOURS.forEach(([down, across], i) => {
        places[start + ring * NEIGHBOURS.length + i] = within(row + far * down, h) * w + within(column + far * across, w);
      }),
    );
    for (let plane = 0; plane < 3 * n; plane += n) {
      let [total, squares] = [0, 0];
      for (let i = start; i < start + count; i++) {
        const difference = colours[plane + places[i]] - colours[plane + cell];
        total += difference;
        squares += difference * difference;
      }
      const scale = EPSILON + SHARPNESS * Math.sqrt(Math.max(0, (squares - (total * total) / samples) / (samples - 1)));
      for (let i = start; i < start + count; i++) weights[i] -= Math.abs(colours[plane + places[i]] - colours[plane + cell]) / scale / 3;
    }
    const highest = weights.subarray(start, start + count).reduce((most, weight) => Math.max(most, weight), -Infinity);
    let sum = 0;
    for (let i = start; i < start + count; i++) sum += weights[i] = Math.exp(weights[i] - highest);
    for (let i = start; i < start + count; i++) weights[i] /= sum;
  }
  return { places, weights, count };
}

function byColours(rules, { cells: [h, w], bins, alike }, mask, box) {
  const { COUNT, MAX_LOGIT, SMOOTHING } = rules.constants.mask_rules;
  const rule = rules.settings.colours;
  const around = within(box ?? outerBox(mask, [h, w]), [h, w], rule.ring);
  const inside = box && within(box, [h, w], 0);
  let logits = mask.map((logit) => Math.min(Math.max(logit, -MAX_LOGIT), MAX_LOGIT));
  const held = logits.map((logit, i) => (inside && !inside[i] ? 0 : Math.round(sigmoid(logit) * COUNT)));
  const ratio = logRatio(rules, held, around, bins);
  logits = logits.map((logit, i) => Math.min(Math.max(logit + (around[i] ? rule.weight * ratio[bins[i]] : 0), -rule.bound), rule.bound));
  for (let turn = 0; turn < SMOOTHING.iterations; turn++) {
    logits = logits.map((_, cell, before) => {
      let sum = 0;
      for (let i = cell * alike.count; i < (cell + 1) * alike.count; i++) sum += alike.weights[i] * before[alike.places[i]];
      return sum;
    });
  }
  return logits;
}

/** [bins]: the logarithm of the ratio of each colour's shares inside and outside of a mask. */
function logRatio(rules, held, around, bins) {
  const { BINS, COUNT, MIN_SHARE, MAX_LOG_RATIO } = rules.constants.mask_rules;
  const [inside, outside] = [new Float64Array(BINS ** 3), new Float64Array(BINS ** 3)];
  held.forEach((count, i) => {
    if (!around[i]) return;
    inside[bins[i]] += count;
    outside[bins[i]] += COUNT - count;
  });
  const [one, other] = [inside, outside].map((counts) => {
    const total = Math.max(1, counts.reduce((sum, count) => sum + count, 0));
    let shares = counts.map((count) => count / total);
    for (const step of [BINS * BINS, BINS, 1]) {
      shares = shares.map((share, bin, before) => {
        const place = Math.floor(bin / step) % BINS;
        return 0.5 * share + 0.25 * (before[place ? bin - step : bin] + before[place < BINS - 1 ? bin + step : bin]);
      });
    }
    return shares;
  });
  return one.map((share, bin) => Math.min(Math.max(Math.log((share + MIN_SHARE) / (other[bin] + MIN_SHARE)), -MAX_LOG_RATIO), MAX_LOG_RATIO));
}

/** The box around what a mask holds, in pixels of the network's input; all of the picture where it holds nothing. */
function outerBox(mask, [h, w]) {
  let box = [w, h, 0, 0];
  mask.forEach((logit, cell) => {
    const [row, column] = [Math.floor(cell / w), cell % w];
    if (logit > 0) box = [Math.min(box[0], column), Math.min(box[1], row), Math.max(box[2], column + 1), Math.max(box[3], row + 1)];
  });
  return (box[2] ? box : [0, 0, w, h]).map((place) => 4 * place);
}

/** [h * w]: whether the centre of a cell lies in a box that is enlarged by a share of its sides, at least by one cell. */
function within(box, [h, w], beyond) {
  const [x0, y0, x1, y1] = box.map((place) => place / 4);
  const [across, down] = [x1 - x0, y1 - y0].map((side) => (beyond ? Math.max(1, beyond * side) : 0));
  return Uint8Array.from({ length: h * w }, (_, cell) => {
    const [x, y] = [(cell % w) + 0.5, Math.floor(cell / w) + 0.5];
    return Number(x > x0 - across && x < x1 + across && y > y0 - down && y < y1 + down);
  });
}

// Boxes

function keptInside(rules, mask, quality, [x0, y0, x1, y1], rule, [, w]) {
  const { MIN_QUALITY, EDGE_SLOPE } = rules.constants.mask_rules;
  const [across, down] = [rule.slack * (x1 - x0), rule.slack * (y1 - y0)];
  const cells = Math.max(1, ((x1 - x0) / 4) * ((y1 - y0) / 4));
  const more = rule.more + rule.small / cells - rule.doubt * Math.log(Math.max(quality, MIN_QUALITY));
  return mask.map((logit, cell) => {
    const [x, y] = [(cell % w) + 0.5, Math.floor(cell / w) + 0.5];
    const inside = Math.min(x - (x0 - across) / 4, (x1 + across) / 4 - x, y - (y0 - down) / 4, (y1 + down) / 4 - y);
    return Math.min(logit + more, EDGE_SLOPE * inside);
  });
}

/** Small islands and holes change their sign. */
function withoutCrumbs(mask, w, rule) {
  const inside = Uint8Array.from(mask, (logit) => Number(logit > 0));
  const { ids, owner, areas } = parts(inside, w);
  const outer = new Uint8Array(owner.length); // what touches the picture's edge is no hole
  ids.forEach((id, cell) => {
    if (cell < w || cell >= ids.length - w || cell % w === 0 || cell % w === w - 1) outer[id] = 1;
  });
  const held = inside.reduce((sum, each) => sum + each, 0);
  const largest = owner.reduce((most, label, id) => (label ? Math.max(most, areas[id]) : most), 0);
  const crumb = owner.map((label, id) => (label ? areas[id] < rule.island * largest : !outer[id] && areas[id] < rule.hole * held));
  return mask.map((logit, cell) => (crumb[ids[cell]] ? -logit : logit));
}

// A closer look at small boxes: `look` is {top, left, bottom, right} of the kept picture and the `input` [h, w] made of it

function lookAt(rules, { kept, cells, size }, prompt) {
  if (!kept || !prompt.box || prompt.glance || !isExact(prompt)) return null;
  const { looks: rule } = rules.settings;
  const { multiple } = rules.card.input;
  const tile = cells.map((side) => 4 * side);
  const [x0, y0, x1, y1] = scaled({ cells, size }, prompt.box);
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

function movedInto({ kept, size }, { left, top, right, bottom }, prompt) {
  const toPart = ({ x, y, ...point }) => ({ x: (x * kept.size[1]) / size[1] - left, y: (y * kept.size[0]) / size[0] - top, ...point });
  const points = (prompt.points ?? []).map(toPart).filter(({ x, y }) => x >= 0 && y >= 0 && x <= right - left && y <= bottom - top);
  const [x0, y0, x1, y1] = prompt.box;
  const [from, to] = [toPart({ x: x0, y: y0 }), toPart({ x: x1, y: y1 })];
  return { ...prompt, points, box: [from.x, from.y, to.x, to.y] };
}

/** A mask of a part on the cells of the whole: each the mean of what it covers. */
function onCells(rules, { kept, cells: [h, w] }, mask, [a, b], look) {
  const down = shares(h, a, look.top, look.bottom, kept.size[0]);
  const across = shares(w, b, look.left, look.right, kept.size[1]);
  const logits = new Float32Array(h * w).fill(rules.constants.closer_look.NOWHERE);
  down.forEach((rows, row) =>
    across.forEach((columns, column) => {
      let sum = 0;
      for (const [i, share] of rows) for (const [j, part] of columns) sum += share * part * mask[i * b + j];
      if (rows.length && columns.length) logits[row * w + column] = sum;
    }),
  );
  return logits;
}

/** For each cell the parts that it covers, each with its share. */
function shares(cells, count, begin, end, pixels) {
  const bound = (part) => ((begin + ((end - begin) * part) / count) * cells) / pixels;
  return Array.from({ length: cells }, (_, cell) => {
    const covered = Array.from({ length: count }, (_, part) => [part, Math.max(0, Math.min(bound(part + 1), cell + 1) - Math.max(bound(part), cell))]);
    const total = covered.reduce((sum, [, share]) => sum + share, 0);
    return covered.filter(([, share]) => share).map(([part, share]) => [part, share / total]);
  });
}

// Negative points

/** A mask less what each negative point of a prompt removes, by what the head answers with the first of them, the first two, ... */
async function reduced(rules, picture, mask, prompt, run) {
  const [positives, negatives] = bySign(prompt.points);
  const replies = [];
  for (let n = 1; n <= Math.min(negatives.length, rules.constants.negative_points.MAX_ANSWERS); n++) {
    replies.push(await predict(rules, picture, { ...prompt, points: [...positives, ...negatives.slice(0, n)] }, run));
  }
  const without = replies.map(({ masks: [one] }) => one);
  return { mask: withoutPoints(rules, picture, mask, positives, negatives, without), quality: replies.at(-1).quality };
}

function withoutPoints(rules, picture, mask, positives, negatives, without) {
  const { DISC, OUTSIDE } = rules.constants.negative_points;
  const [h, w] = picture.cells;
  const left = Float32Array.from(mask);
  const corners = positives.map((point) => neighbours(point, picture));
  const toPositive = (cell) => Math.min(Infinity, ...corners.map(([first]) => distance(cell, first, w)));
  negatives.forEach((point, number) => {
    const answer = without[Math.min(number, without.length - 1)];
    const cells = neighbours(point, picture);
    const inside = Uint8Array.from(left, (logit) => Number(logit >= 0));
    let removed = partAround(inside.map((each, cell) => each && Number(answer[cell] < 0)), cells, w);
    if (corners.some((some) => some.some((cell) => removed[cell]))) {
      removed = partAround(removed.map((each, cell) => each && Number(distance(cell, cells[0], w) < toPositive(cell))), cells, w);
    }
    if (removed.includes(1)) removed.forEach((each, cell) => each && (left[cell] = Math.min(left[cell], answer[cell])));
    else if (cells.some((cell) => inside[cell])) {
      const reach = Math.min(...corners.flat().map((cell) => distance(cell, cells[0], w)), Math.max(...cells.map((cell) => depthOf(inside, cell, [h, w]))));
      inside.forEach((each, cell) => each && distance(cell, cells[0], w) < DISC * reach && (left[cell] = OUTSIDE));
    }
    for (const cell of cells) left[cell] = Math.min(left[cell], OUTSIDE);
  });
  return left;
}

/** The cells between which the pixel of a point is interpolated. */
function neighbours({ x, y }, { cells: [h, w], size: [H, W] }) {
  const low = (place, cells, pixels) => Math.floor(Math.min(Math.max(((Math.min(Math.floor(place), pixels - 1) + 0.5) * cells) / pixels - 0.5, 0), cells - 1));
  const [row, column] = [low(y, h, H), low(x, w, W)];
  const rows = [row, ...(row + 1 < h ? [row + 1] : [])];
  return rows.flatMap((each) => [each * w + column, ...(column + 1 < w ? [each * w + column + 1] : [])]);
}

function distance(one, other, w) {
  return Math.hypot(Math.floor(one / w) - Math.floor(other / w), (one % w) - (other % w));
}

/** The distance of a cell to the nearest outside of a mask, or of the picture. */
function depthOf(inside, cell, [h, w]) {
  const [row, column] = [Math.floor(cell / w), cell % w];
  const toEdge = Math.min(row + 1, column + 1, h - row, w - column);
  return inside.reduce((least, each, other) => (each ? least : Math.min(least, distance(cell, other, w))), toEdge);
}

/** The parts of a region that some cells touch. */
function partAround(region, cells, w) {
  const reached = new Uint8Array(region.length);
  const queue = cells.filter((cell) => region[cell]);
  for (const cell of queue) reached[cell] = 1;
  for (let cell = queue.pop(); cell !== undefined; cell = queue.pop()) {
    for (const next of sides(cell, w, region.length)) {
      if (!region[next] || reached[next]) continue;
      reached[next] = 1;
      queue.push(next);
    }
  }
  return reached;
}

// Corrections of a mask: positive points and the box add to it, negative points remove from it

async function correct(rules, picture, prompt, run) {
  const { cells: [h, w], size: [H, W] } = picture;
  const { CERTAIN } = rules.constants.mask_prompts;
  const { points = [], box, mask } = prompt;
  const [positives, negatives] = bySign(points);
  const pixels = new Uint8Array(H * W);
  let place = 0;
  runsOf(mask.counts).forEach((run, index) => pixels.fill(index % 2, place, (place += run)));
  const { bbox: [x, y, across, down] } = encoded(pixels, 2, [H, W])[1];
  const around = box ?? (across ? [x, y, x + across, y + down] : undefined);
  let logits = await picture.onCells(pixels).then((share) => share.map((each) => (2 * each - 1) * CERTAIN));
  let quality = 0;
  if (positives.length || box) {
    const { masks: [added], quality: known } = await predict(rules, picture, { points: positives, box }, run);
    cut(added, [h, w], [H, W]).forEach((each, pixel) => each && (pixels[pixel] = 1));
    logits = logits.map((logit, cell) => Math.max(logit, added[cell]));
    quality = known;
  }
  if (negatives.length) {
    const { mask: left, quality: known } = await reduced(rules, picture, logits, { points, box: around }, run);
    const removed = left.map((logit, cell) => (logits[cell] >= 0 && logit < 0 ? -logit : -CERTAIN));
    cut(removed, [h, w], [H, W]).forEach((each, pixel) => each && (pixels[pixel] = 0));
    [logits, quality] = [left, known];
  }
  return { logits, quality, ...encoded(pixels, 2, [H, W])[1] };
}
