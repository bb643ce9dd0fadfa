// A data set that is written, and what its writers share; every format as `lexiseg_labels/formats` writes it.

const UNNAMED = "object"; // the category of segments without a label
const DIGITS = 1e4; // of a score

/** NAME, NAME-2, NAME-3 ...: the first that is not taken. */
export function free(name, isTaken) {
  let [one, count] = [name, 1];
  while (isTaken(one)) one = `${name}-${(count += 1)}`;
  return one;
}

/** Names, made unique by numbers. */
export function distinct(names) {
  const seen = new Set();
  for (const name of names) seen.add(free(name, (one) => seen.has(one)));
  return [...seen];
}

// Its `categories` are the classes, and one for segments without a label if there are any; a segment has a `category` (its place) and its `name`.
/** The set of pictures {name (of the file), size: [height, width], model, segments, reviewed}, which get their `base` name. */
export function setOf(pictures) {
  const labels = pictures.flatMap(({ segments }) => segments.map(({ label }) => label ?? null));
  const classes = [...new Set(labels)].filter((label) => label !== null);
  const unnamed = free(UNNAMED, (name) => classes.includes(name));
  const placed = (one, index) => {
    const category = one.label == null ? classes.length : classes.indexOf(one.label);
    return { ...one, id: index + 1, category, name: one.label ?? unnamed };
  };
  const all = pictures.map((picture) => ({ ...picture, base: picture.name.replace(/\.[^.]*$/, ""), segments: picture.segments.map(placed) }));
  return { classes, categories: labels.includes(null) ? [...classes, unnamed] : classes, pictures: all };
}

export const rounded = (score) => Math.floor(score * DIGITS + 0.5) / DIGITS;

/** A list with one entry a line. */
export const jsonList = (entries) => `[${entries.map((one) => `\n${JSON.stringify(one)}`).join(",")}\n]`;

const NO_XML = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu; // characters without a form in XML 1.0
const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;" };

const xmlText = (value) => String(value).replace(NO_XML, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
export const escaped = (value) => xmlText(value).replace(/[&<>]/g, (one) => ENTITIES[one]);
export const attributesOf = (attributes) =>
  Object.entries(attributes).map(([name, value]) => ` ${name}="${xmlText(value).replace(/[&<>"\r\n\t]/g, (one) => ENTITIES[one])}"`).join("");
