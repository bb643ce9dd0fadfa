// Task "everything": masks for a grid of point prompts, as in the service (methods/tiny/proposals). Points whose object
// is probably covered by earlier masks are skipped.
//
// A mask holds logits of a window `{top, left, rows, columns}` in cells of the maps, at two pixels per cell and axis.

import { halfToEven } from "./maps.js";

const FINER = 2; // pixels of a mask across a cell
const NOTHING = -20; // the logit of pixels outside of a window

/** Masks [h * w] of a picture with their quality in 0..1, after non-maximum suppression, the best first. */
export async function proposed(rules, picture, run) {
  const { proposals: settings } = rules.settings;
  const { PER_PASS, AGAIN, TOUCHES, NEW } = rules.constants.proposing;
  const { STEP, MIN_SIDE } = rules.constants.windows;
  const shared = await picture.shared();
  const [rows, columns] = shared.mid.dims.slice(2);
  const whole = { top: 0, left: 0, rows, columns };
  const size = [rows, columns].map((side) => Math.min(side, Math.max(MIN_SIDE, Math.ceil(side / (2 * STEP)) * STEP)));
  const grid = Array.from({ length: settings.grid ** 2 }, (_, i) => {
    const share = (place) => Math.fround(Math.fround(place + 0.5) / settings.grid);
    return { x: Math.fround(share(i % settings.grid) * columns), y: Math.fround(share(Math.floor(i / settings.grid)) * rows) };
  });
  const search = searchOf(rules, grid, shared.grouping);
  const good = []; // {mask, window, quality}
  let left = settings.most * rows * columns;
  const covers = (mask, window, least) =>
    grid.map(({ x, y }) => {
      const [row, column] = [Math.floor(FINER * y) - FINER * window.top, Math.floor(FINER * x) - FINER * window.left];
      const inside = row >= 0 && column >= 0 && row < FINER * window.rows && column < FINER * window.columns;
      return (inside ? mask[row * FINER * window.columns + column] : NOTHING) > least;
    });

  async function answered(point, window) {
    left -= window.rows * window.columns;
    const { x, y } = grid[point];
    const place = Float32Array.of(8 * (x - window.left), 8 * (y - window.top));
    const { masks, quality } = await run("lone-point", { point: [place, [2]], ...cropped(shared, window, whole) });
    const n = masks.data.length / quality.data.length;
    const sure = [...quality.data].map((logit) => 1 / (1 + Math.exp(-logit)));
    return { point, each: sure.map((quality, i) => ({ mask: masks.data.slice(i * n, (i + 1) * n), window, quality })) };
  }

  function keep(answers, of = (answer) => answer.each) {
    search.answered(answers.map(({ point }) => point), answers.map((answer) => Math.max(0, ...of(answer).map((one) => one.quality))));
    for (const one of answers.flatMap(of)) {
      const area = areaOf(one.mask);
      if (one.quality < settings.quality || area < rules.constants.proposing.MIN_CELLS) continue;
      good.push(one);
      const explains = area <= settings.explains * rows * columns * FINER ** 2;
      search.cover(covers(one.mask, one.window, 0), explains ? covers(one.mask, one.window, settings.inside) : []);
    }
  }

  async function ask(points) {
    const answers = [];
    for (const point of points) answers.push(await answered(point, whole));
    keep(answers);
  }

  /** Prompt in a window around each point; again in the whole picture if the best mask is cut by its window and mostly uncovered. */
  async function askNear(points) {
    const answers = [];
    for (const point of points) answers.push(await answered(point, around(grid[point], size, whole)));
    const isCut = (one) => touching(one, whole) > TOUCHES;
    const best = ({ each }) => each.reduce((most, one) => (one.quality > most.quality ? one : most));
    let waiting = answers.filter((answer) => isCut(best(answer)) && best(answer).quality >= settings.quality);
    waiting.sort((one, other) => best(other).quality - best(one).quality);
    const done = new Set();
    while (waiting.length) {
      waiting = waiting.filter((answer) => search.openShare(covers(best(answer).mask, best(answer).window, 0)) >= NEW);
      const again = waiting.slice(0, Math.min(AGAIN, Math.floor(left / (rows * columns))));
      if (!again.length) break;
      await ask(again.map(({ point }) => point));
      again.forEach((answer) => done.add(answer));
      waiting = waiting.slice(AGAIN);
    }
    keep(answers.filter((answer) => !done.has(answer)), ({ each }) => each.filter((one) => !isCut(one)));
  }

  for (const [index, rank] of ranks(settings.grid).entries()) {
    const near = index > 0 && (size[0] < rows || size[1] < columns);
    const cost = near ? size[0] * size[1] : rows * columns;
    for (;;) {
      const some = search.next(rank, Math.min(PER_PASS, Math.floor(left / cost)), index === 0);
      if (!some.length) break;
      await (near ? askNear : ask)(some);
    }
  }
  return unsuppressed(good, settings.rule, whole);
}

function areaOf(mask) {
  return mask.reduce((sum, logit) => sum + Number(logit > 0), 0);
}

/** The window of a size centred on a place, shifted to lie inside the picture. @param {any} point @param {number[]} size */
function around({ x, y }, size, whole) {
  const [rows, columns] = size;
  const corner = (middle, length, end) => Math.min(Math.max(2 * halfToEven((middle - length / 2) / 2), 0), end - length);
  return { top: corner(y, rows, whole.rows), left: corner(x, columns, whole.columns), rows, columns };
}

/** The shared maps [1, C, h, w], cropped to a window. */
function cropped(shared, window, whole) {
  if (window === whole) return shared;
  return Object.fromEntries(
    Object.entries(shared).map(([name, { data, dims: [, channels, height, width] }]) => {
      const [top, left, rows, columns] = [window.top, window.left, window.rows, window.columns].map((cells) => (cells * height) / whole.rows);
      const part = new Float32Array(channels * rows * columns);
      for (let line = 0; line < channels * rows; line++) {
        const start = (Math.floor(line / rows) * height + top + (line % rows)) * width + left;
        part.set(data.subarray(start, start + columns), line * columns);
      }
      return [name, [part, [1, channels, rows, columns]]];
    }),
  );
}

/** Number of mask pixels along the edges of its window that are not edges of the picture. */
function touching({ mask, window: { top, left, rows, columns } }, whole) {
  const [h, w] = [FINER * rows, FINER * columns];
  const line = (start, step, length) => Array.from({ length }, (_, i) => mask[start + i * step]).filter((logit) => logit > 0).length;
  return (
    (top > 0 ? line(0, 1, w) : 0) + (top + rows < whole.rows ? line((h - 1) * w, 1, w) : 0) +
    (left > 0 ? line(0, w, h) : 0) + (left + columns < whole.columns ? line(w - 1, w, h) : 0)
  );
}

/** Indices of an n x n grid in five ranks, from coarse to fine: each rank halves the gaps. */
function ranks(n) {
  const of = Array.from({ length: 5 }, () => []);
  for (let i = 0; i < n * n; i++) {
    const [y, x] = [Math.floor(i / n), i % n];
    if (y % 4 === 2 && x % 4 === 2) of[0].push(i);
    else if (y % 4 === 0 && x % 4 === 0) of[1].push(i);
    else if (y % 2 === 0 && x % 2 === 0) of[2].push(i);
    else of[y % 2 && x % 2 ? 3 : 4].push(i);
  }
  return of.filter((rank) => rank.length);
}

/** Chooses the next grid points by the expected quality of their masks: kernel regression over the answers so far. */
function searchOf(rules, grid, { data, dims: [, channels, height, width] }) {
  const { SHARPNESS, REACH, GUESS, DOUBT, ALIKE, CROWD } = rules.constants.search;
  const { HEADS } = rules.constants.prompt_maps;
  const { grid: side, hope: least } = rules.settings.proposals;
  const n = grid.length;
  const vectors = grid.map(({ x, y }) => Float32Array.from({ length: channels }, (_, i) => data[(i * height + Math.floor(y)) * width + Math.floor(x)]));
  const cosines = vectors.map((one) => Float32Array.from(vectors, (other) => one.reduce((sum, value, i) => sum + value * other[i], 0) / HEADS));
  const [waits, open] = [new Uint8Array(n).fill(1), new Float32Array(n).fill(1)];
  const weights = new Float32Array(n).fill(DOUBT);
  const sums = weights.map((weight) => weight * GUESS);
  const hopeOf = (point) => {
    const crowd = cosines[point].reduce((sum, cosine, other) => sum + (cosine > ALIKE ? open[other] : 0), 0) / n;
    return sums[point] / weights[point] + CROWD * Math.sqrt(crowd);
  };
  return {
    next(rank, most, unseen) {
      const waiting = rank.filter((point) => waits[point]);
      if (unseen) return waiting.slice(0, most);
      const hoped = waiting.map((point) => [point, hopeOf(point)]).filter(([, hope]) => hope >= least);
      return hoped.sort(([, one], [, other]) => other - one).slice(0, most).map(([point]) => point);
    },
    answered(points, best) {
      points.forEach((point, i) => {
        waits[point] = 0;
        for (let other = 0; other < n; other++) {
          const square = (Math.floor(point / side) - Math.floor(other / side)) ** 2 + ((point % side) - (other % side)) ** 2;
          const near = Math.exp(SHARPNESS * (cosines[point][other] - 1) - square / (2 * REACH ** 2));
          weights[other] += near;
          sums[other] += best[i] * near;
        }
      });
    },
    cover(covered, spared) {
      covered.forEach((each, point) => each && (open[point] = 0));
      spared.forEach((each, point) => each && (waits[point] = 0));
    },
    openShare(covered) {
      const some = open.filter((_, point) => covered[point]);
      return some.length ? some.reduce((sum, each) => sum + each, 0) / some.length : 1;
    },
  };
}

/** Non-maximum suppression: masks in the size of the whole picture, the best first. */
function unsuppressed(good, rule, whole) {
  const [h, w] = [FINER * whole.rows, FINER * whole.columns];
  const wholes = good.sort((one, other) => other.quality - one.quality).map(({ mask, window, quality }) => {
    const wide = new Float32Array(h * w).fill(NOTHING);
    const columns = FINER * window.columns;
    for (let row = 0; row < FINER * window.rows; row++) {
      wide.set(mask.subarray(row * columns, (row + 1) * columns), (FINER * window.top + row) * w + FINER * window.left);
    }
    return { mask: wide, quality, area: areaOf(mask) };
  });
  const stay = [];
  for (const one of wholes) {
    const goes = stay.some((better) => {
      let both = 0;
      for (let i = 0; i < h * w; i++) both += Number(one.mask[i] > 0 && better.mask[i] > 0);
      return both / (one.area + better.area - both) >= rule.overlap || (rule.inside !== null && both / one.area >= rule.inside);
    });
    if (!goes) stay.push(one);
  }
  return stay;
}
