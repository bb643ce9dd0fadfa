// The project: pictures with documents and review marks, kept in this browser; its filmstrip, labelling and reviewing all.

import { opened } from "../decode.js";
import { EMPTY, NO_WORDS, change, isSure, settle, withWords } from "../document.js";
import * as engine from "../engine/server.js";
import {
  $, baseName, element, emit, jpegOf, page, persist, problemOf, queueOf, refusalText, refuse, restore, settings, state, tell, timeOf,
  withRetry, wordsQuestion,
} from "../page.js";
import * as store from "./store.js";
import { ready as kernel } from "../masks/kernel.js";

const THUMB = 96; // pixels of the longer side
const OF_A_PICTURE = [413, 415, 422]; // status codes that concern one picture; the others continue
const IN_FLIGHT = 2; // pictures that are labelled at a time: the service answers about one while another is sent and read
const TRIED = 3; // pictures that are labelled to see whether the words succeed
const MAX_STEPS = 50; // of a picture's history that outlive a reload
const MAX_NAMES = 3; // of skipped pictures in the message
const [SHOWN, QUESTION] = ["shown", "question"]; // names of notes: the key of the picture that is shown, the settings
let pictures = []; // {key, name, bytes, width, height, thumb, line, doc, taught, past, future}; `file`, `image` where they are needed
let strip = []; // the same in the order of the filmstrip
let anew = null; // AbortController of the answers with what was learned last
let control = null; // AbortController of what runs, or ran last, over all pictures
let shown = 0; // counts the pictures that were shown

const stateOf = ({ doc }) => (doc.isReviewed ? "reviewed" : doc.segments.some((one) => isSure(doc, one)) ? "labelled" : doc.asked === NO_WORDS ? "new" : "empty");

/** Its place by what helps the head, 0..1, else the lowest score of what nobody has edited; from 1 on for a reviewed picture. */
function sureness({ doc, place }) {
  const scores = doc.segments.filter(({ origins, isEdited }) => origins && !isEdited).map(({ score }) => score);
  return Number(doc.isReviewed) + (place ?? Math.min(1, ...scores));
}

/** Draws the strip, what is not reviewed in the order in which it helps the head; without one the lowest scores come first. */
async function rank() {
  const ids = $("doubtful").checked && state.head ? pictures.flatMap(({ doc, id }) => (id && !doc.isReviewed ? [id] : [])) : [];
  const keys = ids.length && engine.remote ? await engine.nextOf(state.head.name, ids).catch(() => []) : [];
  for (const one of pictures) one.place = keys.includes(one.id) ? keys.indexOf(one.id) / keys.length : null;
  drawStrip();
}

const inTurn = queueOf(); // what runs over all pictures: nothing ends what was begun before

/** Acts after what runs over all pictures, and says that it waits. `what`: as "Labelling". */
export function later(what, act) {
  if (inTurn.isBusy()) $("note").textContent = `${what} begins after what runs now.`;
  return inTurn(act);
}

/** Opens the project of the last visit, with its question unless there is another. */
export const open = (hasQuestion) => inTurn(async () => {
  const [kept, last, question] = await Promise.all([store.load(), store.read(SHOWN), store.read(QUESTION), kernel]).catch(() => [[]]);
  const old = kept.filter(({ key }) => !pictures.some((one) => one.key === key)).map((one) => ({ past: [], future: [], ...one, id: null, isKept: true }));
  pictures = [...old, ...pictures];
  drawStrip();
  emit("opened");
  if (!old.length) return;
  document.body.dataset.opens = "yes"; // hides the start screen while a picture is decoded
  $("many").open = pictures.length > 1;
  if (!hasQuestion) restore(question ?? {});
  if (!state.picture) await show(old.find(({ key }) => key === last) ?? old[0]);
  delete document.body.dataset.opens;
});

/** Adds a decoded picture, as of `opened`; returns it as one of the project. @returns {any} */
export function add({ image, file, ...picture }, name = file.name || "picture") {
  const key = Math.max(Date.now(), (pictures.at(-1)?.key ?? 0) + 1);
  /** @type {any} */
  const one = { ...picture, key, name, file, bytes: file.size, doc: EMPTY, past: [], future: [] };
  const scale = THUMB / Math.max(image.width, image.height);
  const [across, down] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  pictures.push(one);
  one.kept = jpegOf(image, across, down, name).then(async (small) => {
    one.thumb = small.file;
    drawStrip();
    await save(one);
  });
  return one;
}

const tabs = new BroadcastChannel("lexiseg-project"); // what is reviewed or erased in one tab is so in all
tabs.onmessage = ({ data: { hasErased, key, ...review } }) => {
  if (hasErased && state.mode === "picture") location.reload(); // or an edit would bring a picture back, without its file
  for (const one of pictures) if (one.key === key) mark(Object.assign(one, review));
};
/** Stores a picture, with its file until that is stored; what fails is tried again with the next change. */
export async function save(one) {
  if (!pictures.includes(one)) return; // erased meanwhile
  const { key, name, bytes, width, height, note, thumb, doc, taught } = one; // `taught`: the document that the head has learned from
  const [past, future] = [one.past, one.future].map((steps) => steps.slice(-MAX_STEPS));
  const file = one.isKept ? null : one.file;
  if (doc.isReviewed || taught) tabs.postMessage({ key, doc, taught });
  await store.keep({ key, name, bytes, width, height, note, thumb, doc, taught, past, future }, file).then(() => Object.assign(one, { isKept: true, unkept: "" }), (problem) => {
    one.unkept = ` ${name} is not kept in this browser. ${problem.message}`;
    $("note").textContent = one.unkept; // an answer overwrites the result line
  });
}

page.addEventListener("edited", ({ detail: picture }) => {
  if (!picture.thumb) return; // saved when it is there
  save(picture);
  mark(picture);
  countClasses();
});
page.addEventListener("pictured", () => pictures.forEach(mark));
page.addEventListener("changed", () => note(QUESTION, settings()));
page.addEventListener("learned", answerAnew);

const note = (name, value) => store.note({ [name]: value }).catch(() => null); // a full disk is told where a picture is saved

export const all = () => pictures;

export async function fileOf(picture) {
  picture.file ??= await store.read(picture.key);
  if (!picture.file) throw problemOf(`${picture.name} is no longer in this browser.`);
  return picture.file;
}

/** Shows a picture of the project; `image`: if it is decoded already. */
export async function show(picture, image = null) {
  const own = (shown += 1);
  image ??= (await fileOf(picture).then(opened).catch((problem) => refuse(problem, () => show(picture))))?.image;
  if (own !== shown || !image) return image?.close();
  const before = state.picture;
  state.picture = Object.assign(picture, { image, isChanged: false });
  if (before) before.isChanged = false;
  note(SHOWN, picture.key);
  emit("pictured");
  emit("tab", "picture");
  $("note").textContent = picture.note ?? "";
  if (before && before !== picture) before.image.close();
  picture.line?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function drawStrip() {
  const shown = pictures.filter(({ thumb }) => thumb);
  strip = $("doubtful").checked ? shown.toSorted((one, other) => sureness(one) - sureness(other)) : shown;
  for (const picture of strip.filter(({ line }) => !line)) {
    const image = element("img", { src: URL.createObjectURL(picture.thumb), alt: "", loading: "lazy" });
    picture.line = element("button", { type: "button", onclick: () => show(picture) }, image);
    element("li", {}, picture.line);
    mark(picture);
  }
  const from = strip.findIndex(({ line }, index) => line.parentElement !== $("strip").children[index]);
  if (from >= 0) $("strip").append(...strip.slice(from).map(({ line }) => line.parentElement)); // a new one moves no others
  const bytes = pictures.reduce((sum, one) => sum + one.bytes, 0);
  $("kept").textContent = pictures.length ? `${pictures.length} pictures, ${(bytes / 1e6).toFixed(1)} MB, kept in this browser.` : "";
  countClasses();
}

function countClasses() {
  const labels = pictures.flatMap(({ doc }) => [...new Set(doc.segments.filter((one) => one.label && isSure(doc, one)).map(({ label }) => label))]);
  $("counts").textContent = [...Map.groupBy(labels, (label) => label)].map(([label, { length }]) => `${label} in ${length}`).join(", ");
}

/** Shows the state of a picture in the strip, which is one stop of the Tab key. */
function mark(picture) {
  if (!picture?.line) return;
  const isOpen = picture === state.picture;
  const isChanged = picture.isChanged && !isOpen && !picture.doc.isReviewed; // and nobody has looked at it since
  const title = `${picture.name}: ${stateOf(picture)}${isChanged ? ", changed" : ""}`;
  Object.assign(picture.line, { className: `${stateOf(picture)}${isChanged ? " changed" : ""}`, title, ariaLabel: title, tabIndex: picture === (state.picture ?? strip[0]) ? 0 : -1, ariaCurrent: String(isOpen) });
}

function go(step, some = strip) {
  const at = strip.indexOf(state.picture) + step;
  const next = step > 0 ? strip.slice(at).find((one) => some.includes(one)) : strip.slice(0, at + 1).findLast((one) => some.includes(one));
  return next && show(next);
}

function review(changes = {}) {
  const { picture } = state;
  if (!picture || state.mode !== "picture") return;
  if (!picture.doc.isReviewed) change(picture, { ...picture.doc, ...changes, isReviewed: true }); // else the next is still being decoded
  const left = strip.filter(({ doc }) => !doc.isReviewed);
  if ($("doubtful").checked && left.length) return show(left[0]);
  if (go(1, left) || go(-1, left)) return null;
  $("note").textContent = `All ${pictures.length} pictures are reviewed.`;
  return emit("changed");
}

/** Reviews a picture without what was found in it; marks stay, so that no answer brings that back. */
const reject = () => review({ segments: (state.picture?.doc.segments ?? []).filter(({ origins }) => origins).map((one) => ({ ...one, isGone: true })) });

function unaccept() {
  change(state.picture, { ...state.picture.doc, isReviewed: false });
  emit("changed", { atOnce: true }); // other words may have been asked meanwhile
  $("canvas").focus();
}

/** Acts on all, `width` at a time, with progress; what is refused costs itself alone. Tells how many are done, with those of `before`. */
async function each(items, width, participle, nameOf, act, before = 0) {
  const { signal } = (control = new AbortController());
  const [refused, began] = [[], performance.now()];
  let done = 0;
  $("progress").hidden = false;
  $("done-of").max = items.length;
  const queue = items.entries();
  const all = async () => {
    for (const [index, item] of queue) {
      const ended = done + refused.length;
      const left = Math.ceil(((performance.now() - began) / 1000 / ended) * (items.length - ended));
      $("done-of").value = ended;
      $("doing").textContent = `${index + 1} of ${items.length}: ${nameOf(item)}${ended ? `; about ${timeOf(left)} left` : ""}`;
      signal.throwIfAborted();
      await act(item, signal).then(() => (done += 1), (problem) => {
        if (!OF_A_PICTURE.includes(problem.status)) throw problem;
        refused.push(problem.message.startsWith(nameOf(item)) ? problem.message : `${nameOf(item)}: ${problem.message}`);
      });
    }
  };
  const how = await Promise.all(Array.from({ length: width }, all)).then(() => "", (problem) => {
    control.abort(); // of the others
    if (problem.name === "AbortError") return "Stopped. ";
    if (problem.status === undefined) throw problem;
    return `${refusalText(problem, () => null)} `;
  });
  $("progress").hidden = true;
  const more = refused.length > MAX_NAMES ? ` And ${refused.length - MAX_NAMES} more.` : "";
  const leftOut = refused.length ? ` Left out: ${refused.slice(0, MAX_NAMES).join(" ")}${more}` : "";
  return ($("note").textContent = `${how}${before + done} of ${before + items.length} pictures are ${participle}.${leftOut}${pictures.findLast(({ unkept }) => unkept)?.unkept ?? ""}`);
}

/** Adds many files, those of a folder by their paths: browsers list it in any order. The first is shown if no picture is. */
export async function addAll(files) {
  $("many").open = true;
  if (!files.length) return tell("There are no pictures among these files.", true);
  navigator.storage?.persist?.(); // a browser may ask its user, so not for a single picture
  const pathOf = (file) => file.webkitRelativePath.split("/").slice(1).join("/") || file.name;
  const inOrder = files.toSorted((one, other) => one.webkitRelativePath.localeCompare(other.webkitRelativePath, "en", { numeric: true }));
  await later("Adding", () => each(inOrder, 1, "added", pathOf, async (file) => {
    const { image, ...picture } = await opened(file);
    const one = add({ image, ...picture }, baseName(pathOf(file)) + picture.file.name.slice(baseName(picture.file.name).length));
    await one.kept;
    await (state.picture ? image.close() : show(one, image));
  }));
}

/** Asks about those of `all` that were neither reviewed nor asked about these words, also those still to be added; `most`: about a few of them. */
export function labelAll(most = 0, all = () => strip) {
  const words = wordsQuestion();
  if (!words) return tell("Type the words first, or choose everything.", true);
  return later("Labelling", async () => {
    const open = all().filter(({ doc }) => !doc.isReviewed && doc.asked !== JSON.stringify(words));
    $("note").textContent = open.length ? "" : pictures.length ? "All pictures are labelled with these words." : "Choose pictures first.";
    if (!open.length) return;
    const some = open.filter((_, i) => !most || Math.floor((i * most) / open.length) > Math.floor(((i - 1) * most) / open.length));
    const outcome = await each(some, IN_FLIGHT, "labelled", ({ name }) => name, async (picture, signal) => {
      await fileOf(picture);
      const answer = await withRetry(() => engine.segment(picture, words, signal, () => null), signal);
      if (!picture.doc.isReviewed) change(picture, withWords(picture.doc, words, answer));
    }, most ? 0 : all().length - open.length);
    drawStrip();
    if (most) await show(some[0]).then(() => ($("note").textContent = outcome));
  });
}

/** Answers anew, with what was learned, what is not reviewed: the picture that is shown, then the others from there on. */
async function answerAnew() {
  anew?.abort();
  const { signal } = (anew = new AbortController());
  emit("changed", { atOnce: true });
  const words = wordsQuestion();
  const at = strip.indexOf(state.picture) + 1;
  const isOpen = ({ doc }) => !doc.isReviewed && doc.asked !== JSON.stringify(words);
  const queue = (words ? [...strip.slice(at), ...strip.slice(0, Math.max(0, at - 1))] : []).values();
  const some = async () => {
    for (const picture of queue) {
      if (!isOpen(picture)) continue;
      await fileOf(picture);
      const answer = await engine.segment(picture, words, signal, () => null);
      signal.throwIfAborted();
      if (isOpen(picture)) settle(picture, withWords(picture.doc, words, answer));
    }
  };
  // Not told where it ends early: each is asked about when it is shown.
  await Promise.all(Array.from({ length: IN_FLIGHT }, some)).catch(() => null);
  if (!signal.aborted) await rank();
}

async function erase(some) {
  if (!window.confirm(`Erase ${some.length} pictures and their labels from this browser?`)) return;
  pictures = pictures.filter((one) => !some.includes(one));
  for (const { line } of some) line?.parentElement.remove();
  drawStrip();
  if (some.includes(state.picture)) {
    state.picture = null;
    emit("pictured");
    if (state.mode === "picture") emit("tab", "picture");
  }
  await Promise.all(some.map(({ key }) => store.forget(key))).catch((problem) => refuse(problem, () => erase(some)));
  tabs.postMessage({ hasErased: true });
  emit("erased");
}

const clicks = { "label-all": () => labelAll(), "label-some": () => labelAll(TRIED), cancel: () => control.abort(), accept: () => review(), reject, unaccept, erase: () => erase(pictures) };
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);
persist("doubtful", async () => {
  await rank();
  if ($("doubtful").checked && strip.length) show(strip[0]);
});
document.addEventListener("keydown", (event) => {
  const field = /** @type {any} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || field.matches("select, textarea, input:not([type=checkbox], [type=radio], [type=file])")) return;
  const near = (side) => $("strip").contains(field) && field.parentElement[side]?.firstElementChild.focus();
  const some = event.shiftKey ? strip.filter((one) => stateOf(one) === "empty") : strip;
  const keys = {
    PageDown: () => go(1, some),
    PageUp: () => go(-1, some),
    a: () => review(),
    x: reject,
    v: () => event.repeat || emit("compared", true),
    Delete: () => $("strip").contains(field) && erase(strip.filter(({ line }) => line === field)),
    ArrowRight: () => near("nextElementSibling"),
    ArrowLeft: () => near("previousElementSibling"),
  };
  keys[event.key]?.();
  if (event.key.startsWith("Page")) event.preventDefault();
});
document.addEventListener("keyup", ({ key }) => key === "v" && emit("compared", false));
