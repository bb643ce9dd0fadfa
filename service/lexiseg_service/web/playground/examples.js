// Classes by example: what a box or points show becomes a class, or one more example of it.

/** The words with an example in them: `prompt` of the picture with the id `id`, for the class of that name. */
export function withExample(words, name, prompt, id) {
  const example = { ...prompt, image: { id } };
  const known = words.find((word) => word.name === name);
  if (!known) return [...words, { name, synonyms: [], examples: [example] }];
  return words.map((word) => (word === known ? { ...word, examples: [...(word.examples ?? []), example] } : word));
}

/** A word as a question has it. */
export function said({ name, synonyms, examples }) {
  if (examples?.length) return { name, examples, ...(synonyms.length && { synonyms }) };
  return synonyms.length ? { name, synonyms } : name;
}

/** A word as its chip has it. */
export function titleOf({ name, synonyms, examples }) {
  return [name, ...synonyms].join(" | ") + (examples?.length ? ` (${examples.length} shown)` : "");
}
