// The score that segments of a class must reach, from scores of right and wrong ones: as `lexiseg calibrate` chooses.

const MARGIN = 0.01; // above the highest wrong score, where nothing is right

/**
 * The threshold under which most marks come true: the right ones kept, the wrong ones dropped.
 *
 * @param marks [{score, right}]
 * @returns {threshold, agree, right, wrong}; the threshold is null where none does better
 */
export function propose(marks) {
  const right = marks.filter((one) => one.right).length;
  const scores = [...new Set(marks.map((one) => one.score))].sort((one, other) => one - other);
  // Between two scores all thresholds do the same; the middle is the one that new pictures may shift most.
  const edges = [0, ...scores.slice(1).map((score, index) => (scores[index] + score) / 2)];
  if (!right && scores.length) edges.push(Math.min(1, scores.at(-1) + MARGIN));
  const agree = (edge) => marks.filter((one) => one.right === one.score >= edge).length;
  const best = edges.reduce((most, edge) => (agree(edge) > agree(most) ? edge : most), 0);
  const threshold = best ? Number(best.toFixed(4)) : null;
  return { threshold, agree: agree(best), right, wrong: marks.length - right };
}
