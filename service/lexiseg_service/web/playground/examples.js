// Classes by example: what a box or points show becomes a class, one more example of it, or what it is not.

/**
 * The words with an example in them: `prompt` of the picture with the id `id`, for the class of that name.
 *
 * @param kind "examples" or "negatives"
 */
export function withExample(words, name, prompt, id, kind = "examples") {
  const example = { ...prompt, image: { id } };
  const known = words.find((word) => word.name === name);
  if (!known) return [...words, { name, synonyms: [], [kind]: [example] }];
  return words.map((word) => (word === known ? { ...word, [kind]: [...(word[kind] ?? []), example] } : word));
}

/** A word as a question has it. */
export function said({ name, synonyms, examples, negatives, threshold }) {
  const more = {
    ...(synonyms.length && { synonyms }),
    ...(examples?.length && { examples }),
    ...(negatives?.length && { negatives }),
    ...(threshold && { threshold }),
  };
  return Object.keys(more).length ? { name, ...more } : name;
}

/** A word as its chip has it. */
export function titleOf({ name, synonyms, examples, negatives, threshold }) {
  const counts = [[examples, "shown"], [negatives, "not"]].filter(([shown]) => shown?.length);
  const told = counts.map(([shown, what]) => `${shown.length} ${what}`).join(", ");
  return [name, ...synonyms].join(" | ") + (told && ` (${told})`) + (threshold ? ` ≥ ${threshold.toFixed(2)}` : "");
}
