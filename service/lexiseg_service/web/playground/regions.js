// Connected parts of maps, and their borders.

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]]; // right, down, left, up

/** 4-connected components of equal labels: `ids` of each cell, `owner` (the label) and `areas` of each part, by their first cells. */
export function parts(labels, width) {
  const [ids, queue] = [new Int32Array(labels.length).fill(-1), new Int32Array(labels.length)];
  const [owner, areas] = [[], []];
  let end = 0;
  const take = (cell, id) => {
    if (ids[cell] >= 0 || labels[cell] !== owner[id]) return;
    ids[cell] = id;
    queue[end++] = cell;
  };
  for (let start = 0; start < labels.length; start++) {
    if (ids[start] >= 0) continue;
    const id = owner.push(labels[start]) - 1;
    const begin = end;
    take(start, id);
    for (let read = begin; read < end; read++) {
      const cell = queue[read];
      if (cell % width > 0) take(cell - 1, id);
      if (cell % width < width - 1) take(cell + 1, id);
      if (cell >= width) take(cell - width, id);
      if (cell + width < labels.length) take(cell + width, id);
    }
    areas.push(end - begin);
  }
  return { ids, owner, areas };
}

/**
 * [[exterior, ...holes], ...] of a map of one mask; parts that touch at a corner only are apart.
 *
 * A ring is a list of pixel corners [x, y]; it runs clockwise around what is inside.
 */
export function polygonsOf({ cells, height, width }) {
  const { ids } = parts(cells, width);
  const sides = sidesOf(cells, height, width);
  const polygons = []; // by parts
  for (let start = 0; start < sides.length; start++) {
    if (!sides[start]) continue;
    // The uppermost corner of an exterior is that of its pixel; that of a hole has the pixel on its left.
    const isExterior = sides[start] & 1;
    const pixel = start - Math.floor(start / (width + 1)) - (isExterior ? 0 : 1);
    (polygons[ids[pixel]] ??= []).push(walk(sides, width + 1, start));
  }
  return Object.values(polygons);
}

/** Of each corner the directions in which a border leaves it, a bit each: what is inside lies to the right of the way. */
function sidesOf(cells, height, width) {
  const sides = new Uint8Array((width + 1) * (height + 1));
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && cells[y * width + x];
  const leave = (x, y, direction) => (sides[y * (width + 1) + x] |= 1 << direction);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) leave(x, y, 0);
      if (!inside(x + 1, y)) leave(x + 1, y, 1);
      if (!inside(x, y + 1)) leave(x + 1, y + 1, 2);
      if (!inside(x - 1, y)) leave(x, y + 1, 3);
    }
  }
  return sides;
}

/** One ring of corners from a start; removes its sides. */
function walk(sides, columns, start) {
  const ring = [];
  let place = start;
  let before = -1;
  do {
    // To the right first: a pixel's own corner.
    const turns = before < 0 ? [0, 1] : [(before + 1) % 4, before, (before + 3) % 4];
    const direction = turns.find((each) => sides[place] & (1 << each));
    if (direction !== before) ring.push([place % columns, Math.floor(place / columns)]);
    sides[place] &= ~(1 << direction);
    place += STEPS[direction][0] + columns * STEPS[direction][1];
    before = direction;
  } while (place !== start);
  return ring;
}
