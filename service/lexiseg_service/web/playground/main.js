// Entry point of the playground: files, tabs, menus and event listeners. Video and exports are imported on first use.

import * as engine from "./engine/server.js";
import { EMPTY } from "./document.js";
import { $, baseName, card, emit, jpegOf, modelOptions, page, persist, problemOf, refuse, restore, segmentAt, state, tasks, tell } from "./page.js";
import { addWords } from "./question.js";

const UNSUPPORTED = /\.(heic|heif|avif|tiff?)$/i; // formats that browsers may not decode; the service does
const EXAMPLE_KEY = "lexiseg-tried"; // session storage: words of the example while the visitor has not changed them
const MIN_SIDE = 16; // pixels

// The question in the URL fragment; empty if the fragment is invalid.
const questionFromAddress = (async () => JSON.parse(decodeURIComponent(location.hash.slice(1))))()
  .then(({ classes, ...query }) => ({ ...query, words: (classes ?? []).map((one) => (one.name ? { synonyms: [], ...one } : { name: one, synonyms: [] })) }))
  .catch(() => ({ words: [] }));

// Not awaited before there is a picture. Imported side by side: answer.js imports view.js, which would cost a second round trip.
const viewLoaded = Promise.all([import("./answer.js"), import("./view.js"), import("./edit.js")]);

// Covers failed imports and failed downloads of example pictures.
window.addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof TypeError && /fetch|load|import/i.test(event.reason.message))) return;
  event.preventDefault();
  tell("A part of the page cannot be loaded: is there a network?", true);
});

let hovered = null; // pixel under the pointer or the keyboard's cross; kept when a new answer arrives
for (const name of ["hover", "answered", "mapped"]) {
  page.addEventListener(name, ({ detail }) => {
    if (name === "hover") hovered = detail;
    const one = hovered && segmentAt(hovered);
    $("hover").textContent = one ? `${one.name} ${one.score.toFixed(2)}` : "";
  });
}
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
  if (target.type === "button") (await import("./export.js")).act(target);
});

/** Fills a menu with names, after its default entry. */
function fill(id, names) {
  $(id).replaceChildren(...$(id).querySelectorAll("[value='']"), ...names.map((name) => new Option(name)));
}

/** Fills the menus of models and vocabularies. Rejects without a required key; a key may be denied vocabularies only. */
async function offer() {
  state.models = await engine.describe();
  const listed = engine.vocabularies().then((all) => fill("vocabulary", all.map(({ name }) => name)), () => null);
  fill("model", state.models.map(({ name }) => name));
  fill("refine", [...new Set(state.models.flatMap(({ refinements = [] }) => refinements))]);
  if ((await questionFromAddress).vocabulary) await listed;
}

/** Disables the tasks that the chosen model does not support. */
function offerTasks() {
  for (const button of tasks) button.disabled = Boolean(card()) && !card().tasks.includes(button.value);
  if ([...tasks].some((button) => button.checked && button.disabled)) tasks.value = "semantic";
}

let turn = 0;
$("examples").addEventListener("click", async ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  const { picture } = button.dataset;
  const photograph = await fetch(new URL(picture, import.meta.url));
  await openPicture(new File([await photograph.blob()], picture, { type: photograph.headers.get("content-type") }));
  askAsExample(button.dataset);
});

/** Asks the question of an example, unless the visitor has typed words. */
function askAsExample({ words, background, task }) {
  if (state.words.length) return;
  $("background").checked = background !== "false";
  tasks.value = task ?? "semantic";
  sessionStorage.setItem(EXAMPLE_KEY, words ?? "");
  if (words) addWords(words);
  else emit("changed");
}

for (const image of document.querySelectorAll("img")) {
  window.addEventListener("load", () => (image.src = image.dataset.src)); // after the files that make the page usable
  image.addEventListener("error", () => (image.closest("button").hidden = true)); // the package with the picture is not installed
}
for (const id of ["background", "tasks"]) $(id).addEventListener("change", () => sessionStorage.removeItem(EXAMPLE_KEY)); // changed by the visitor
$("another").addEventListener("click", () => {
  if (state.mode === "picture") state.picture = null;
  else state.clip = null;
  showTab(state.mode);
  if (state.mode === "picture") emit("pictured");
  (state.mode === "picture" ? $("file") : $("clip")).focus();
});
// Not needed before there is a picture.
page.addEventListener("turned", () => import("./preview.js"), { once: true });

async function openPicture(file) {
  const own = (turn += 1);
  const picture = await opened(file).catch((problem) => refuse(problem, () => openPicture(file)));
  await viewLoaded;
  if (!picture || own !== turn) return; // another file was chosen meanwhile
  removeExampleWords();
  state.picture = { ...picture, doc: EMPTY, past: [], future: [] };
  $("note").textContent = picture.note ?? "";
  showTab("picture");
  emit("pictured");
}

/** `{file, id, width, height, image, note}`; rejects if neither browser nor service can decode it. @returns {Promise<any>} */
async function opened(file) {
  const name = file.name || "That";
  if (!file.size) throw problemOf(`${name} is empty.`);
  const image = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (image) return within(file, image);
  if (!UNSUPPORTED.test(name)) throw problemOf(`${name} is not a picture that this browser can open.`);
  return shownByService(file).catch((problem) => {
    problem.message = `${name}: ${problem.message}`;
    throw problem;
  });
}

/** The picture within the service's limits: reduced if necessary, with a note. */
async function within(file, image) {
  const [maxBytes, maxPixels] = [Number(document.body.dataset.maxBytes), Number(document.body.dataset.maxPixels)];
  const { width, height } = image;
  const small = Math.min(width, height) < MIN_SIDE && `has ${width} x ${height} pixels; the service takes sides of at least ${MIN_SIDE}`;
  for (let factor = Math.min(1, Math.sqrt(maxPixels / (width * height))); ; factor *= 0.75) {
    const [across, down] = [Math.floor(width * factor), Math.floor(height * factor)];
    const why = Math.min(across, down) < MIN_SIDE && `does not fit into the ${maxBytes.toLocaleString("en")} bytes that the service takes`;
    if (why) throw problemOf(`${file.name} ${small || why}.`);
    if (factor === 1 && file.size <= maxBytes) return { file, id: null, width, height, image };
    const smaller = await jpegOf(image, across, down, `${baseName(file.name)}.jpg`);
    if (smaller.file.size > maxBytes) continue;
    const limit = file.size > maxBytes ? `${maxBytes.toLocaleString("en")} bytes` : `${maxPixels / 1e6} megapixels`;
    const read = engine.remote ? "that the service takes: it is sent" : "that fit into a browser: it is read";
    const note = `${file.name} was larger than the ${limit} ${read} at ${across} x ${down} pixels.`;
    return { ...smaller, image: smaller.image.transferToImageBitmap(), note };
  }
}

/** The picture as the service decodes it: the overlay of an answer without segments, at most 1,280 pixels, scaled up. */
async function shownByService(file) {
  tell(`This browser cannot open ${file.name}: asking the service…`);
  const picture = { file, id: null };
  const nothing = { classes: ["picture"], threshold: 1, mask: "none", overlay: true, ...modelOptions() };
  const { overlay, size: [height, width] } = await engine.segment(picture, nothing);
  const bytes = Uint8Array.from(atob(overlay), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]), { resizeWidth: width, resizeHeight: height });
  return { ...picture, width, height, image };
}

/** Removes the words of an example before another picture is opened; the visitor's own words stay. */
function removeExampleWords() {
  const words = sessionStorage.getItem(EXAMPLE_KEY)?.split(",");
  if (!words) return;
  sessionStorage.removeItem(EXAMPLE_KEY);
  $("background").checked = true;
  tasks.value = "semantic";
  state.words = state.words.filter(({ name }) => !words.includes(name));
}

document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) openPicture(file);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (/** @type {any} */ event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", name === "dragover");
    if (name !== "drop" || !event.dataTransfer.files.length) return;
    const [file, ...more] = event.dataTransfer.files;
    if (more.length) takeMany([file, ...more]);
    else (file.type.startsWith("video/") ? openClip : openPicture)(file);
  });
}

async function takeMany(files) {
  $("many").open = true;
  const pictures = files.filter(({ type, name }) => type.startsWith("image/") || UNSUPPORTED.test(name));
  await (await import("./export.js")).segmentAll(pictures, opened);
}

const takers = { file: (files) => openPicture(files[0]), clip: (files) => openClip(files[0]), files: takeMany, folder: takeMany };
for (const [id, act] of Object.entries(takers)) {
  $(id).addEventListener("change", () => {
    const files = [...$(id).files];
    $(id).value = ""; // the same ones may be chosen again
    if (files.length) act(files);
  });
}
page.addEventListener("file", ({ detail }) => openPicture(detail));

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

const video = () => viewLoaded.then(() => import("./video.js"));

async function openClip(file) {
  removeExampleWords();
  await (await video()).openClip(file);
}

for (const id of ["camera", "film"]) $(id).addEventListener("click", async () => (await video()).openCamera());
$("pan").addEventListener("click", async () => {
  if (await (await video()).openExample()) askAsExample($("sample").dataset);
});

async function start() {
  const query = await questionFromAddress;
  restore(query);
  await offer().catch(refuseOffer); // the visitor may add words meanwhile
  restore({ ...query, words: null, task: null, background: undefined });
  offerTasks(); // for the model in the URL
  await viewLoaded;
  emit("answered");
  document.body.dataset.ready = "yes";
}

start();
