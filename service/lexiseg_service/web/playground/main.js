// Entry point of the playground: files, tabs, menus and event listeners. Video and exports are imported on first use.

import * as engine from "./engine/server.js";
import { UNSUPPORTED, opened, photographOf } from "./decode.js";
import { $, card, emit, freshWords, page, persist, refuse, restore, segmentAt, settings, state, tasks, tell } from "./page.js";
import { addWords } from "./question.js";

const HEAD = /\.head$/; // files of what reviewed pictures taught
const EXAMPLE_KEY = "lexiseg-tried"; // session storage: words of the example while the visitor has not changed them

// The question in the URL fragment; empty if the fragment is invalid.
const questionFromAddress = (async () => JSON.parse(decodeURIComponent(location.hash.slice(1))))()
  .then(({ classes, ...query }) => ({ ...query, words: (classes ?? []).map((one) => (one?.name ? { synonyms: [], ...one } : { name: one, synonyms: [] })) }))
  .catch(() => ({ words: [] }));

// Not awaited before there is a picture. Imported side by side: answer.js imports view.js, which would cost a second round trip.
const viewLoaded = Promise.all([import("./answer.js"), import("./view.js"), import("./edit.js"), import("./project/project.js"), import("./project/teaching.js")]);
const project = () => viewLoaded.then((modules) => modules[3]);

window.addEventListener("unhandledrejection", (event) => { // of imports and downloads of example pictures
  if (!(event.reason instanceof TypeError && /fetch|load|import/i.test(event.reason.message))) return;
  event.preventDefault();
  tell("A part of the page cannot be loaded: is there a network?", true);
});

let hovered = null; // pixel under the pointer or the keyboard's cross; kept when a new answer arrives
page.addEventListener("hover", ({ detail }) => (hovered = detail));
for (const name of ["hover", "answered", "mapped"]) page.addEventListener(name, () => {
  const one = hovered && segmentAt(hovered);
  $("hover").textContent = one ? `${one.name} ${one.score.toFixed(2)}` : "";
});
for (const id of ["vocabulary", "tasks", "model", "refine", "background"]) $(id).addEventListener("change", () => emit("changed"));
$("model").addEventListener("change", offerTasks);
for (const shown of document.querySelectorAll("output")) {
  $(shown.htmlFor.value).addEventListener("input", ({ target }) => (shown.value = target.valueAsNumber.toFixed(2)));
}
const refuseOffer = (problem) => refuse(problem, engine.remote ? offerAgain : () => location.reload());
const offerAgain = () => offer().then(offerTasks).then(() => emit("changed"), refuseOffer); // a `changed` event would clear the refusal
persist("key", offerAgain);
$("server").value = document.body.dataset.server ?? "";
persist("server", () => null);
$("export").addEventListener("click", async ({ target }) => {
  if (target.type === "button") (await import("./project/export.js")).act(target);
});
$("to").append(...Object.keys(JSON.parse(document.body.dataset.formats)).map((name) => new Option(name))); // a server's
$("export-project").addEventListener("click", async () => {
  (await project()).later("The export", async () => (await import("./project/export.js")).exportProject());
});

/** Fills a menu with names, after its default entry; what is chosen stays where it is offered. */
function fill(id, names) {
  const { value } = $(id);
  $(id).replaceChildren(...$(id).querySelectorAll("[value='']"), ...names.map((name) => new Option(name)));
  $(id).dataset.isFilled = "yes";
  restore({ [id]: value });
}

/** Fills the menus of models and vocabularies. Rejects without a required key; a key may be denied vocabularies only. */
async function offer() {
  Object.assign(state, await engine.describe());
  $("lesson").disabled = !state.features.includes("heads");
  emit("offered");
  engine.vocabularies().then((all) => fill("vocabulary", all.map(({ name }) => name)), () => null);
  fill("model", state.models.map(({ name }) => name));
  fill("refine", [...new Set(state.models.flatMap(({ refinements = [] }) => refinements))]);
}

function offerTasks() {
  for (const button of tasks) button.disabled = Boolean(card()) && !card().tasks.includes(button.value);
  if ([...tasks].some((button) => button.checked && button.disabled)) tasks.value = "semantic";
}

let turn = 0;
$("examples").addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (!button || $("examples").ariaBusy) return; // one is being opened
  const begin = button.id === "lesson" ? beginLesson : openExample;
  $("examples").ariaBusy = "true";
  await begin(button.dataset).catch((problem) => refuse(problem, () => button.click())).finally(() => ($("examples").ariaBusy = null));
});

async function openExample({ picture, words }) {
  const photograph = await photographOf(picture);
  await openPicture(new File([photograph], picture, { type: photograph.type }));
  askAsExample(words);
}

async function beginLesson({ picture, words }) {
  const photograph = await photographOf(picture);
  removeExampleWords();
  askAsExample(words);
  await (await import("./project/lesson.js")).begin(photograph, words);
}

function askAsExample(words) {
  const fresh = freshWords(words.split(",").map((name) => ({ name })));
  if (!state.words.length) restore({ task: "semantic", background: true });
  sessionStorage.setItem(EXAMPLE_KEY, String(fresh.map(({ name }) => name)));
  addWords(words);
}

for (const image of /** @type {any} */ (document.querySelectorAll("img[data-src]"))) {
  window.addEventListener("load", () => (image.src = image.dataset.src)); // after the files that make the page usable
  image.addEventListener("error", () => (image.closest("button").hidden = true)); // the package with the picture is not installed
}
for (const id of ["background", "tasks"]) $(id).addEventListener("change", () => sessionStorage.removeItem(EXAMPLE_KEY)); // changed by the visitor
$("another").addEventListener("click", () => {
  state[state.mode === "picture" ? "picture" : "clip"] = null;
  showTab(state.mode);
  if (state.mode === "picture") emit("pictured");
  (state.mode === "picture" ? $("file") : $("clip")).focus();
});

page.addEventListener("turned", () => Promise.all([import("./preview.js"), import("./project/export.js")]), { once: true }); // then the service may go

async function openPicture(file) {
  const own = (turn += 1);
  const picture = await opened(file).catch((problem) => refuse(problem, () => openPicture(file)));
  const { add, show } = await project();
  if (!picture || own !== turn) return; // another file was chosen meanwhile
  removeExampleWords();
  await show(add(picture), picture.image);
}

function removeExampleWords() {
  const words = sessionStorage.getItem(EXAMPLE_KEY)?.split(",");
  if (!words) return;
  sessionStorage.removeItem(EXAMPLE_KEY);
  restore({ words: state.words.filter(({ name }) => !words.includes(name)) });
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) openPicture(file);
});
for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (/** @type {any} */ event) => {
  event.preventDefault();
  $("stage").classList.toggle("over", name === "dragover");
  if (name !== "drop" || !event.dataTransfer.files.length) return;
  const [file, ...more] = event.dataTransfer.files;
  if (more.length || HEAD.test(file.name)) takeMany([file, ...more]);
  else (file.type.startsWith("video/") ? openClip : openPicture)(file);
});

async function takeMany(files) {
  const head = files.find(({ name }) => HEAD.test(name));
  const pictures = files.filter(({ type, name }) => type.startsWith("image/") || UNSUPPORTED.test(name));
  if (!head || pictures.length) await (await project()).addAll(pictures);
  if (head) await (await viewLoaded)[4].openHead(head); // last: a picture that is shown empties the line
}

const takers = { file: (files) => openPicture(files[0]), clip: (files) => openClip(files[0]), files: takeMany, folder: takeMany, album: takeMany };
for (const [id, act] of Object.entries(takers)) {
  $(id).addEventListener("change", () => {
    const files = [...$(id).files];
    $(id).value = ""; // the same ones may be chosen again
    if (files.length) act(files);
  });
}
page.addEventListener("file", ({ detail }) => openPicture(detail));

$("many").addEventListener("toggle", () => engine.remote && import("./project/jobs.js"), { once: true });

const modes = $("modes").elements.mode;

/** Shows a tab, or the current one with new content; emits `turned`. */
function showTab(mode) {
  state.mode = modes.value = mode;
  const image = mode === "picture" ? state.picture : state.clip;
  const hadFocus = ["empty", "no-clip"].some((id) => $(id).contains(document.activeElement));
  document.body.dataset.mode = mode;
  document.body.classList.toggle("shows", Boolean(image));
  if (mode !== "picture" || !image) $("note").textContent = "";
  if (hadFocus && image) $("canvas").focus(); // the focused button is hidden now
  state.answer = null;
  tell("");
  emit("answered");
  emit("turned");
  emit("changed");
}

page.addEventListener("tab", ({ detail }) => showTab(detail));
$("modes").addEventListener("change", () => showTab(modes.value));

const video = () => viewLoaded.then(() => import("./video/video.js"));

async function openClip(file) {
  removeExampleWords();
  await (await video()).openClip(file);
}

for (const id of ["camera", "film"]) $(id).addEventListener("click", async () => (await video()).openCamera());
$("pan").addEventListener("click", async () => {
  const photograph = await photographOf("china.jpg").catch((problem) => refuse(problem, () => $("pan").click()));
  if (photograph && (await (await video()).openExample(photograph))) askAsExample($("pan").dataset.words);
});

async function start() {
  const query = await questionFromAddress;
  restore(query);
  // At once, beside the engine, which may take seconds: an empty page looks like a loss.
  const opened = project().then(({ open }) => open(query.words.length > 0)).then(() => JSON.stringify(settings()));
  await offer().catch(refuseOffer); // the visitor may add words meanwhile
  offerTasks();
  if ((await opened) !== JSON.stringify(settings())) emit("changed"); // a menu no longer offers what was chosen
  if (!state.answer) emit("answered");
  document.body.dataset.ready = "yes";
}

start();
