// Task "everything": masks for a grid of points, as in the service (methods/tiny/proposals), but of those that masks probably cover already.

const FINER = 2; // mask pixels per cell of the maps, on each axis

/** Masks [h * w] of a picture with their quality in 0..1, after non-maximum suppression, the best first. */
export async function proposed(rules, picture, run) {
  const settings = rules.proposals;
  const { per_pass: perPass, again: againAtOnce, touches: maxTouches, min_new: minNew, min_cells: minCells, window: sides } = settings;
  const shared = await picture.shared();
  const [rows, columns] = shared.mid.dims.slice(2);
  const [height, width] = shared.coarse.dims.slice(2);
  const windowSide = (side) => Math.min(side, Math.max(sides.min, Math.ceil(side / (2 * sides.step)) * sides.step));
  const [whole, part] = [height * width, windowSide(height) * windowSide(width)]; // cells that a point costs
  const grid = Array.from({ length: settings.grid ** 2 }, (_, i) => {
    const share = (place) => Math.fround(Math.fround(place + 0.5) / settings.grid);
    return { x: Math.fround(share(i % settings.grid) * columns), y: Math.fround(share(Math.floor(i / settings.grid)) * rows) };
  });
  const search = searchOf(rules, grid, shared.grouping);
  const good = []; // {mask, quality, area, touches}
  let budget = settings.max_points * whole;
  const cellOf = ({ x, y }) => Math.floor(FINER * y) * FINER * columns + Math.floor(FINER * x);
  const pointsIn = (mask, least) => [...grid.keys()].filter((point) => mask[cellOf(grid[point])] > least);
  const isGood = ({ quality, area }) => quality >= settings.quality && area >= minCells;
  const openShare = (points) => (points.length ? points.reduce((sum, point) => sum + search.open[point], 0) / points.length : 1);

  /** Prompt in a window around each point; again in the whole picture if the best mask is cut by its window and mostly uncovered. */
  async function ask(points, isWhole) {
    const answers = [];
    for (const point of points) {
      budget -= isWhole ? whole : part;
      const each = await masksAt(grid[point], isWhole, shared, run);
      const best = each.reduce((most, one) => (one.quality > most.quality ? one : most));
      const isCut = best.touches > maxTouches && best.quality >= settings.quality;
      answers.push({ point, cut: isCut ? best : null, each: each.filter((one) => one.touches <= maxTouches) });
    }
    let waiting = answers.filter(({ cut }) => cut).sort((one, other) => other.cut.quality - one.cut.quality);
    const done = new Set();
    while (waiting.length) {
      waiting = waiting.filter(({ cut }) => openShare(pointsIn(cut.mask, 0)) >= minNew);
      const again = waiting.splice(0, Math.min(againAtOnce, Math.floor(budget / whole)));
      if (!again.length) break;
      await ask(again.map(({ point }) => point), true);
      again.forEach((answer) => done.add(answer));
    }
    const kept = answers.filter((answer) => !done.has(answer));
    for (const { point, each } of kept) search.answered(point, Math.max(0, ...each.map((one) => one.quality)));
    for (const one of kept.flatMap(({ each }) => each.filter(isGood))) {
      good.push(one);
      for (const point of pointsIn(one.mask, 0)) search.open[point] = 0;
      if (one.area > settings.explains * one.mask.length) continue;
      for (const point of pointsIn(one.mask, settings.inside)) search.waits[point] = 0;
    }
  }

  for (const [index, rank] of settings.ranks.entries()) {
    const isWhole = index === 0 || part === whole;
    for (;;) {
      const some = search.next(rank, Math.min(perPass, Math.floor(budget / (isWhole ? whole : part))), index === 0);
      if (!some.length) break;
      await ask(some, isWhole);
    }
  }
  return withoutDuplicates(good, settings.rule);
}

/** Masks [h * w] of the picture for a point, asked in a window around it or in the whole; `touches`: mask pixels on the window's inner edges. */
async function masksAt({ x, y }, isWhole, shared, run) {
  const place = { ...shared, point: [Float32Array.of(8 * x, 8 * y), [2]], corner: [new BigInt64Array(2), [2]] };
  const { corner, ...maps } = isWhole ? place : await run("crop", place);
  const { masks, quality } = await run("lone-point", maps);
  const { whole, areas, touches } = await run("paste", { masks, corner, fine: shared.fine });
  const n = whole.data.length / areas.data.length;
  return Array.from(quality.data, (logit, i) => ({
    mask: whole.data.slice(i * n, (i + 1) * n),
    quality: 1 / (1 + Math.exp(-logit)),
    area: areas.data[i],
    touches: touches.data[i],
  }));
}

/** Chooses the next grid points by the expected quality of their masks: kernel regression over the answers so far. */
function searchOf(rules, grid, { data, dims: [, channels, height, width] }) {
  const { grid: side, min_expected: least, heads, search: { sharpness, reach, prior, prior_weight: priorWeight, alike, crowd: bonus } } = rules.proposals;
  const n = grid.length;
  const vectors = grid.map(({ x, y }) => Float32Array.from({ length: channels }, (_, i) => data[(i * height + Math.floor(y)) * width + Math.floor(x)]));
  const cosines = vectors.map((one) => Float32Array.from(vectors, (other) => one.reduce((sum, value, i) => sum + value * other[i], 0) / heads));
  const [waits, open] = [new Uint8Array(n).fill(1), new Float32Array(n).fill(1)];
  const weights = new Float32Array(n).fill(priorWeight);
  const sums = weights.map((weight) => weight * prior);
  const expectedQuality = (point) => {
    const crowd = cosines[point].reduce((sum, cosine, other) => sum + (cosine > alike ? open[other] : 0), 0) / n;
    return sums[point] / weights[point] + bonus * Math.sqrt(crowd);
  };
  return {
    waits,
    open,
    next(rank, most, unseen) {
      const waiting = rank.filter((point) => waits[point]);
      if (unseen) return waiting.slice(0, most);
      const ranked = waiting.map((point) => [point, expectedQuality(point)]).filter(([, quality]) => quality >= least);
      return ranked.sort(([, one], [, other]) => other - one).slice(0, most).map(([point]) => point);
    },
    answered(point, best) {
      waits[point] = 0;
      for (let other = 0; other < n; other++) {
        const square = (Math.floor(point / side) - Math.floor(other / side)) ** 2 + ((point % side) - (other % side)) ** 2;
        const near = Math.exp(sharpness * (cosines[point][other] - 1) - square / (2 * reach ** 2));
        weights[other] += near;
        sums[other] += best * near;
      }
    },
  };
}

function withoutDuplicates(good, rule) {
  const stay = [];
  for (const one of good.sort((one, other) => other.quality - one.quality)) {
    const goes = stay.some((better) => {
      const both = one.mask.reduce((sum, logit, i) => sum + Number(logit > 0 && better.mask[i] > 0), 0);
      return both / (one.area + better.area - both) >= rule.overlap || (rule.inside !== null && both / one.area >= rule.inside);
    });
    if (!goes) stay.push(one);
  }
  return stay;
}
