// Shared by all modules of the page: elements, events, state, the questions built from it, and messages about refusals.

/**
 * Events: `changed` (the question; `{atOnce: true}`: ask without a pause), `answered`, `mapped` (`state.map` is there), `refused`, `file` and `tab`
 * (requests to show one), `pictured` (another picture), `turned` (another tab), `chosen` (clicks go to another segment), `edited` (a document),
 * `opened` (the project), `erased` (some), `learned` (`state.head` was solved), `offered` (models), `compared` (whether to show the answer before).
 * Of the view: `shown` {x, y, positive} (a click; `box` [x0, y0, x1, y1] if one was dragged), `stroke` {points, radius, adds}, `hover` {x, y} or null,
 * `next`, `undo`, `clear`.
 */
export const page = /** @type {any} */ (new EventTarget());

/** @type {(id: string) => any} an element of any kind */
export const $ = (id) => document.getElementById(id);

export const tasks = $("tasks").elements.task; // radio buttons

export function emit(name, detail = null) {
  page.dispatchEvent(new CustomEvent(name, { detail }));
}

export function tell(text, wrong = false) {
  if ($("result").textContent !== text) $("result").textContent = text; // or a screen reader would repeat it
  $("result").classList.toggle("wrong", wrong);
}

/** @returns {any} an element with these properties and children */
export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export const button = (textContent, onclick, properties) => element("button", { type: "button", textContent, onclick, ...properties });

const PALETTE = document.body.dataset.palette.split(" "); // of the service's overlays
const JPEG_QUALITY = 0.92;

export const colourOf = (index) => PALETTE[index % PALETTE.length];

export const swatch = (index) => element("span", { className: "swatch", style: `background: ${colourOf(index)}` });

/** Replaces the children of an element and returns the focus to the one with the same name, if any. @returns {any} */
export function refill(id, children) {
  const name = $(id).querySelector(":focus")?.name;
  $(id).replaceChildren(...children);
  const again = name && $(id).querySelector(`[name=${CSS.escape(name)}]`);
  again?.focus();
  return again;
}

/** Stores a field's value in local storage and restores it; calls `act` when it changes. */
export function persist(id, act) {
  const field = $(id);
  const isBox = field.type === "checkbox";
  const last = localStorage.getItem(`lexiseg-${id}`);
  if (last !== null) Object.assign(field, isBox ? { checked: last === "on" } : { value: last });
  field.addEventListener("change", () => {
    localStorage.setItem(`lexiseg-${id}`, isBox ? (field.checked ? "on" : "off") : field.value.trim());
    act();
  });
}

export function drawn(width, height, draw) {
  const canvas = new OffscreenCanvas(width, height);
  draw(canvas.getContext("2d"));
  return canvas;
}

/** An image source as a JPEG picture of this size and file name. @returns {Promise<any>} */
export async function jpegOf(source, width, height, name) {
  const image = drawn(width, height, (context) => context.drawImage(source, 0, 0, width, height));
  const blob = await image.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
  return { file: new File([blob], name, { type: "image/jpeg" }), id: null, width, height, image };
}

/** A function that acts after a promise and all earlier acts that it was given; `isBusy`: whether more than `some` are not done. */
export function queueOf(first = Promise.resolve()) {
  let [last, count] = [first, 0];
  const inOrder = (act) => {
    count += 1;
    const done = last.then(() => act()).finally(() => (count -= 1));
    last = done.catch(() => null); // reported as an unhandled rejection; the next ones go on
    return done;
  };
  return Object.assign(inOrder, { isBusy: (some = 0) => count > some });
}

export const baseName = (name) => name.replace(/\.[^.]*$/, "");

/** @type {Record<string, any>} */
export const state = {
  mode: "picture", // or "video"
  picture: null, // {file, id, width, height, image, doc, past, future}: document.js tells of the last three
  clip: null, // {name}
  frame: null, // frame of the clip that the answer is about, as a picture
  words: [], // {name, synonyms}; of a link also examples of a class
  chosen: { number: null, isLocked: false }, // the segment that clicks go to; locked: wherever they are
  pending: [], // prompts of clicks that wait for their turn
  isMerging: false, // whether the next click merges a segment into the chosen one
  answer: null,
  map: null, // from painter.js: the segment of each of its `cells`, and the `places` of names
  followed: [], // {number, lost, label}: objects of the clip
  models: [], // cards
  features: [], // optional parts that the engine has: "heads", "jobs"
  head: null, // what reviewed pictures taught, under a name: teaching.js
};

/** The question about words; null if the task needs words and there are none. */
export function wordsQuestion() {
  /** @type {Record<string, any>} */
  const query = { ...named(), task: tasks.value, ...modelOptions(), ...(state.mode === "picture" && { doubtful: true }) };
  return query.classes || query.vocabulary || query.task === "everything" ? query : null;
}

/** Segments of the picture that are still as their prompts made them. @returns {any[]} */
export const prompted = () => (state.picture?.doc.segments ?? []).filter(({ prompt, isGone }) => prompt && !isGone);

const MENUS = ["vocabulary", "model", "refine"];

/** All that a question about words is made of. @returns {any} */
export const settings = () => ({ words: state.words, task: tasks.value, background: $("background").checked, ...valuesOf(MENUS) });

const valuesOf = (ids) => Object.fromEntries(ids.map((id) => [id, $(id).value]));

const isText = (one) => typeof one === "string";
/** Sets what `settings` returned or a link has, or a part of it; what a menu that is filled does not offer stays as it is. @param {any} settings */
export function restore({ words, task, background, ...menus }) {
  state.words = words?.filter(({ name }) => isText(name)).map((one) => ({ ...one, synonyms: [one.synonyms ?? []].flat().filter(isText) })) ?? state.words;
  if ([...tasks].some((button) => button.value === task)) tasks.value = task;
  if (background !== undefined) $("background").checked = background;
  for (const id of MENUS) {
    if (menus[id] && isText(menus[id]) && !$(id).dataset.isFilled) $(id).append(new Option(menus[id])); // stands until the menu is filled
    if ([...$(id).options].some((option) => option.value === menus[id])) $(id).value = menus[id];
  }
}

/** The complete question, as shown to programs. @returns {any} */
export const question = () => {
  const prompts = state.mode === "picture" ? prompted().map(({ prompt }) => prompt) : [];
  return prompts.length ? { ...named(), prompts, ...modelOptions() } : wordsQuestion() ?? { task: tasks.value, ...modelOptions() };
};

export function freshWords(words) {
  const known = new Set(state.words.map(({ name }) => name.toLowerCase()));
  return words.filter(({ name }) => !known.has(name.toLowerCase()) && known.add(name.toLowerCase()));
}

/** Request fields of classes: `vocabulary` or `classes`, `background`, and the `head` of what was taught. @returns {Record<string, any>} */
export function named() {
  const background = $("background").checked;
  const isTaught = state.head?.model.split("@")[0] === $("model").value;
  const head = isTaught ? { head: `${state.head.name}@${state.head.version}` } : {};
  if ($("vocabulary").value) return { vocabulary: $("vocabulary").value, background, ...head };
  const classes = state.words.map((word) => {
    const entry = Object.fromEntries(Object.entries(word).filter(([, value]) => value?.length));
    return Object.keys(entry).length > 1 ? entry : word.name;
  });
  return classes.length ? { classes, background, ...head } : {};
}

/** The picture or frame that the answer is about. */
export const subject = () => (state.mode === "video" ? state.frame : state.picture);

export function segmentAt({ x, y }) {
  const { map, answer } = state;
  if (!map || !answer) return null;
  const [column, row] = [Math.floor(x / map.step), Math.floor(y / map.step)];
  if (column >= map.width || row >= map.height) return null;
  return answer.segments[map.cells[row * map.width + column] - 1] ?? null;
}

/** Request fields of model and refinement, if chosen. @returns {Record<string, any>} */
export const modelOptions = () => Object.fromEntries(Object.entries(valuesOf(["model", "refine"])).filter(([, value]) => value));

export const card = () => state.models.find(({ name }) => name === $("model").value);
export const takesPrompts = () => Boolean(card()?.tasks.includes("prompt"));

// Refusals of an engine: a busy one is retried, others are shown as text.

const MAX_RETRY_TIME = 60_000; // milliseconds; a model may take longer to load than Retry-After says
const MAX_WAIT = 60; // seconds; the longest automatic wait before a retry
const MAX_SHOWN = 24; // characters of a rejected word

/** An error of an engine; `more`: its `type`, and seconds `after` which to retry. @param {any} [more] @returns {any} */
export const problemOf = (detail, status = 422, more) => Object.assign(new Error(detail), { status, ...more });

/** The result of `act`, retried after the time that a refusal names. */
export async function withRetry(act, signal, began = performance.now()) {
  return act().catch(async (problem) => {
    const { after } = problem;
    if (!after || after > MAX_WAIT || performance.now() - began > MAX_RETRY_TIME) throw problem;
    tell(`${why(problem)}. Asking again in ${after} s.`);
    await new Promise((resolve, reject) => {
      setTimeout(resolve, 1000 * after);
      offerRetry(resolve);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    }).finally(() => offerRetry());
    tell("Asking again…");
    return withRetry(act, signal, began);
  });
}

/** The text of a final refusal; shows the retry button if a retry may help. */
export function refusalText(problem, retry) {
  if (problem.after || !problem.status) offerRetry(retry);
  if (problem.status === 401) return $("key").value ? "The service does not know this API key." : "The service asks for an API key: enter it under More.";
  if (problem.after) return `${why(problem)}. It may be asked again in ${timeOf(problem.after)}.`;
  return problem.message.replace(/^classes\.(\d+)[^:]*/, (place, index) => { // the word in place of its index
    const name = state.words[index]?.name;
    if (!name) return place;
    return name.length > MAX_SHOWN ? `${name.slice(0, MAX_SHOWN)}…` : name;
  });
}

const why = ({ status, message }) => `The service is ${status === 503 ? "not ready" : "busy"}: ${message}`;

/** Shows a refusal and keeps the last answer. @param {any} problem @param {() => void} retry */
export function refuse(problem, retry) {
  if (problem.status === undefined) throw problem; // a bug in the page
  tell(refusalText(problem, retry), true);
  emit("refused");
  if (problem.type === "unknown-head") emit("offered"); // it was deleted elsewhere: teaching.js begins it again
  if (problem.status !== 401) return;
  $("more").open = true;
  $("key").focus();
}

export function offerRetry(act = null) {
  $("again").hidden = !act;
  $("again").onclick = () => {
    offerRetry();
    act();
  };
}

export function timeOf(seconds) {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.ceil(seconds / 60)} minutes` : `${Math.ceil(seconds / 3600)} hours`;
}
