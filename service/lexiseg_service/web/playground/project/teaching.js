// Teaching: what reviewed pictures show is learned after each change of them, as a head under a name; the others are then answered with it.

import { shownOf } from "../answer.js";
import * as engine from "../engine/server.js";
import { change, stacked } from "../document.js";
import { $, baseName, button, element, emit, freshWords, page, queueOf, refuse, state, tell } from "../page.js";
import { all, fileOf, save } from "./project.js";
import * as store from "./store.js";

const HEAD = "head"; // name of a note: {project, name}
const AT_ONCE = 8; // pictures of a request
const MAX_NAMES = 6; // of classes in the line
const UNNAMED = { keep_days: 30 }; // of a head that nobody has named, after its last change
let project = `page-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`; // begins the keys of this browser's pictures
let name = project; // of the head; another one where that is kept
let isOpened = false; // before, none of the project's pictures is known
const inTurn = queueOf(store.read(HEAD).then((kept) => kept && ({ project, name } = kept), () => null));
const keyOf = ({ key }) => `${project}.${key}`;
const isTeacher = ({ doc }) => doc.isReviewed && namesOf(doc).length > 0;
const ofNew = () => !state.head && { model: $("model").value, ...(name === project && UNNAMED) };
const canTeach = () => isOpened && state.features.includes("heads");

const open = () => inTurn(async () => {
  $("teaching").hidden = !canTeach();
  if (!canTeach()) return;
  const names = (await engine.heads().catch(() => [])).map((one) => one.name);
  $("taught").replaceChildren(...names.filter((one) => !one.startsWith("page-")).map((value) => element("option", { value })));
  await begin(name, names.includes(name) ? engine.head(name) : Promise.resolve(null));
});
page.addEventListener("opened", () => (isOpened = true));
for (const event of ["opened", "offered"]) page.addEventListener(event, open);
for (const event of ["edited", "erased"]) page.addEventListener(event, () => canTeach() && inTurn(teach));

async function begin(chosen, head) {
  name = chosen;
  $("head-name").value = name === project ? "" : name;
  store.note({ [HEAD]: { project, name } }).catch(() => null);
  take(await head.catch(() => null));
  await teach();
}

function take(head) {
  const isSame = head?.version === state.head?.version;
  state.head = head;
  $("learned").textContent = head ? told(head) : "";
  $("lessons").replaceChildren(...(head?.keys ?? []).map(line));
  if (!isSame) emit("learned");
}

/** A picture that teaches, of this project or another, and a button that ends that. */
function line(key) {
  const picture = all().find((one) => keyOf(one) === key);
  const shown = picture?.name ?? key;
  const remove = () => engine.teach(name, { classes: [], pictures: [], remove: [key] }).then(take, (problem) => refused(problem, []));
  const act = () => (picture ? change(picture, { ...picture.doc, isReviewed: false }) : inTurn(state.head.keys.length > 1 ? remove : forget));
  return element("li", {}, shown, button("×", act, { ariaLabel: `${shown} teaches no more` }));
}

/** The names that were looked for in a document; a picture that was accepted before there were any teaches nothing. */
function namesOf(doc) {
  const asked = (JSON.parse(doc.asked)?.classes ?? []).map((one) => one.name ?? one);
  return [...new Set([...asked, ...(doc.answer?.absent ?? []), ...shownOf(doc).map(({ label }) => label)])].filter(Boolean);
}

/** Sends what was reviewed, corrected, taken back or erased since the last time, some pictures at a time. */
async function teach() {
  const reviewed = all().filter(isTeacher);
  const stay = [...reviewed, ...(await store.load().catch(all)).filter(isTeacher)].map(keyOf); // also what another tab has added
  const goes = (key) => key.startsWith(`${project}.`) && !stay.includes(key);
  if (state.head?.keys.some(goes)) state.head = await engine.head(name).catch(() => state.head); // another tab may have removed some
  const keys = state.head?.keys ?? [];
  const remove = keys.filter(goes);
  const fresh = reviewed.filter((one) => one.taught !== one.doc || !keys.includes(keyOf(one)));
  if (!fresh.length && !remove.length) return null;
  const known = [...remove, ...reviewed.map(keyOf)];
  if (keys.every((key) => known.includes(key)) && !reviewed.some(({ doc }) => shownOf(doc).length)) return teachNothing(reviewed);
  const some = fresh.slice(0, AT_ONCE).map((picture) => ({ picture, key: keyOf(picture), doc: picture.doc }));
  const objectOf = ({ label, mask: { size, counts } }) => ({ class: label, mask: { size, counts } });
  const pictures = some.map(({ doc, ...one }) => ({ ...one, objects: stacked(shownOf(doc)).map(objectOf), reviewed: namesOf(doc) }));
  const others = freshWords(reviewed.flatMap(({ doc }) => namesOf(doc)).map((name) => ({ name, synonyms: [] })));
  const classes = [...state.words, ...others].map(({ name, synonyms }) => ({ name, synonyms }));
  const read = Promise.all(some.map(({ picture }) => fileOf(picture)));
  const sent = read.then(() => engine.teach(name, { classes, pictures, remove, ...ofNew() }));
  const head = await sent.catch((problem) => refused(problem, some));
  if (!head) return null;
  for (const { picture, doc } of some) save(Object.assign(picture, { taught: doc }));
  if (fresh.length === some.length) return take(head);
  state.head = head;
  return teach();
}

/** Tells a refusal in the line; after a change of the model, all pictures are sent again. */
async function refused(problem, some) {
  if (problem.status === undefined) throw problem;
  if (problem.type === "model-changed") await forget().then(() => void inTurn(teach));
  else $("learned").textContent = `Nothing new was learned. ${problem.message.replace(/^pictures: '([^']*)'/, (_, key) => some.find((one) => one.key === key)?.picture.name ?? key)}`;
}

const forget = () => engine.forget(name).then(() => take(null));

/** Pixels of pictures that show nothing are all alike: nothing can be learned. */
async function teachNothing({ length }) {
  if (state.head) await forget();
  $("learned").textContent = length ? "Nothing is learned before a reviewed picture shows one of the words." : "";
}

/** One line: what was learned, on pictures that were left out in turn, and what more would help. */
function told({ pictures, classes }) {
  const shown = classes.filter((one) => one.pictures);
  const gain = ({ iou_words: words, iou_taught: taught, iou_range: range, kept }) => {
    const figures = range ?? [taught].filter((share) => share != null);
    if (!figures.length) return "known from a picture unlike these on";
    return kept ? "stays with its words, which are as good" : `${words.toFixed(0)} → ${figures.map((share) => share.toFixed(0)).join(" to ")} %`;
  };
  const wants = shown.slice(0, MAX_NAMES).flatMap((one) => (one.wants ? [`${one.wants} of ${one.name}`] : [])).join(", ");
  return `Learned from ${pictures} reviewed. How well found outlines match yours, before → now: ${shown.slice(0, MAX_NAMES).map((one) => `${one.name} ${gain(one)}`).join(", ")}${shown.length > MAX_NAMES ? ` and ${shown.length - MAX_NAMES} more` : ""}.${wants && ` More wanted: ${wants}.`}`;
}

/** Goes on with a head that somebody chose by its name, and asks about its classes. */
const choose = (chosen) => inTurn(async () => {
  if (name === project && name !== chosen) await forget();
  await begin(chosen, engine.head(chosen));
  state.words = [...state.words, ...freshWords((state.head?.classes ?? []).map(({ name, synonyms }) => ({ name, synonyms })))];
  emit("changed");
});
$("head-name").addEventListener("change", ({ target }) => {
  if (!target.checkValidity()) return tell("A name has a-z, 0-9 and -, at most 64.", true);
  return choose(target.value.trim() || project);
});
const keepHead = (file, chosen) => inTurn(() => engine.keepHead(chosen, file)).then(() => choose(chosen), (problem) => refuse(problem, () => openHead(file)));
export const openHead = (file) =>
  engine.remote ? keepHead(file, baseName(file.name)) : tell("Only a service takes what was learned as a file.", true);

/** What was learned, as files of the project's export; where the service does not give it, a text that says why. */
export const headFiles = async () => (state.head && engine.remote ? [await engine.headFile(name).then(
  (content) => [`${name}.head`, () => content], ({ message }) => ["head-missing.txt", () => message])] : []);
