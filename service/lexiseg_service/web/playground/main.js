// The playground: a picture, words or prompts, and what the service finds.

import { Problem, get, keepKey, key, segment } from "/playground/api.js";
import { colourOf, css } from "/playground/colours.js";
import { said, titleOf, withExample } from "/playground/examples.js";
import * as leaving from "/playground/leaving.js";
import { View } from "/playground/view.js";

const PATIENCE = 250; // milliseconds after the last change
const AGAIN = 8; // times that a busy service is asked once more

const $ = (id) => document.getElementById(id);
const view = new View($("canvas"));
const painter = new Worker("/playground/painter.js", { type: "module" });
const state = {
  picture: null, // {file, id, width, height}
  words: [], // {name, synonyms}
  prompts: [], // {points, box}
  answer: null,
  begun: false, // whether the next point is of the last object
  hidden: new Set(), // labels
  map: null,
  turn: 0,
};
let waiting = 0;
let running = null;

// the question

function question() {
  const asked = {};
  if ($("vocabulary").value) asked.vocabulary = $("vocabulary").value;
  else if (state.words.length) asked.classes = state.words.map(said);
  if (state.prompts.length) asked.prompts = state.prompts;
  else asked.task = $("task").value;
  if (asked.classes || asked.vocabulary) asked.background = $("background").checked;
  if ($("model").value) asked.model = $("model").value;
  if ($("refine").value) asked.refine = $("refine").value;
  return asked;
}

function askable(asked) {
  return Boolean(state.picture && (asked.classes || asked.vocabulary || asked.prompts || asked.task === "everything"));
}

function changed() {
  leaving.remember(question());
  clearTimeout(waiting);
  waiting = setTimeout(ask, PATIENCE);
}

async function ask() {
  running?.abort();
  const asked = question();
  if (!askable(asked)) {
    show(null);
    tell(state.picture ? "Type a word, click on the picture or drag a box." : "");
    return;
  }
  const control = new AbortController();
  running = control;
  tell("Looking…");
  try {
    const answer = await patiently(asked, control.signal);
    if (running === control) show(answer, asked);
  } catch (problem) {
    if (problem.name === "AbortError" || running !== control) return;
    refuse(problem);
  }
}

/** A busy service says when to come again. */
async function patiently(asked, signal) {
  for (let tries = 1; ; tries++) {
    try {
      return await segment(state.picture, asked, signal);
    } catch (problem) {
      if (problem.status !== 429 || tries === AGAIN) throw problem;
      tell("The service is busy; asking again…");
      await new Promise((resolve) => setTimeout(resolve, 300 * tries));
      if (signal.aborted) throw new DOMException("", "AbortError");
    }
  }
}

// the answer

function show(answer, asked) {
  state.answer = answer && { ...answer, asked, segments: answer.segments.filter((one) => !one.mask_index) };
  state.map = null;
  view.painted = null;
  view.prompts = state.prompts;
  view.draw();
  list();
  drawChips();
  $("timings").textContent = answer ? `${answer.model}: ${answer.timings_ms.total.toFixed(0)} ms` : "";
  if (!answer) return;
  const [height, width] = answer.size;
  const segments = state.answer.segments.map((one) => ({ counts: one.mask.counts }));
  state.turn += 1;
  painter.postMessage({ kind: "segments", turn: state.turn, width, height, segments });
  repaint();
  tell(summary(answer));
}

function summary(answer) {
  const labels = [...new Set(state.answer.segments.map((one) => one.label).filter(Boolean))];
  const some = state.answer.segments.length;
  const found = labels.length ? `Found ${labels.slice(0, 8).join(", ")}${labels.length > 8 ? " and more" : ""}.` : "";
  const cut = !labels.length && some ? `Cut out ${some} ${some === 1 ? "object" : "objects"}.` : "";
  const absent = (answer.absent ?? []).slice(0, 8);
  const missing = absent.length ? `Not found: ${absent.join(", ")}.` : "";
  const warned = (answer.warnings ?? []).map((warning) => warning.detail).join(" ");
  return [found, cut, missing || (some ? "" : "Nothing found."), warned].filter(Boolean).join(" ");
}

/** The colour's number of each segment, -1 where it is not shown. */
function shown() {
  const least = Number($("threshold").value);
  return state.answer.segments.map((one) => (one.score < least || state.hidden.has(nameOf(one)) ? -1 : numberOf(one)));
}

function numberOf(one) {
  if (state.answer.asked.prompts) return one.prompt_index;
  return state.answer.asked.task === "semantic" ? one.class_index : one.id;
}

function nameOf(one) {
  return one.label ?? `object ${one.prompt_index == null ? one.id : one.prompt_index + 1}`;
}

function repaint() {
  if (!state.answer) return;
  painter.postMessage({ kind: "draw", turn: state.turn, shown: shown() });
  [...$("segments").children].forEach((line, index) =>
    line.classList.toggle("low", state.answer.segments[index].score < Number($("threshold").value)),
  );
}

painter.onmessage = ({ data }) => {
  if (data.turn !== state.turn) return;
  if (data.kind === "map") state.map = data;
  else {
    view.painted = data.bitmap;
    view.draw();
    $("canvas").dataset.painted = String(data.turn);
  }
};

function list() {
  $("segments").replaceChildren(
    ...(state.answer?.segments ?? []).map((one) => {
      const box = element("input", { type: "checkbox", checked: !state.hidden.has(nameOf(one)) });
      box.addEventListener("change", () => {
        if (box.checked) state.hidden.delete(nameOf(one));
        else state.hidden.add(nameOf(one));
        list();
        repaint();
      });
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = css(colourOf(numberOf(one)));
      const share = (100 * one.area) / (state.answer.size[0] * state.answer.size[1]);
      return element(
        "li",
        {},
        element("label", {}, box, swatch, nameOf(one)),
        element("span", { className: "share", textContent: `${one.score.toFixed(2)} · ${share.toFixed(1)} %` }),
      );
    }),
  );
}

function tell(text, wrong = false) {
  $("result").textContent = text;
  $("result").classList.toggle("wrong", wrong);
}

function refuse(problem) {
  show(null);
  if (!(problem instanceof Problem)) throw problem;
  if (problem.status === 401) {
    $("more").open = true;
    $("key").focus();
  }
  tell(problem.status === 429 ? `${problem.message} Change anything to ask again.` : problem.message, true);
}

// the picture

async function take(file) {
  let image;
  try {
    image = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    tell(`${file.name || "That"} is not a picture that this browser can open.`, true);
    return;
  }
  state.picture = { file, id: null, width: image.width, height: image.height };
  state.prompts = [];
  state.hidden.clear();
  $("empty").hidden = true;
  $("canvas").hidden = false;
  view.show(image);
  show(null);
  prompted();
}

function prompted() {
  view.prompts = state.prompts;
  view.draw();
  $("next").disabled = !state.prompts.length || !state.begun;
  $("undo").disabled = $("clear").disabled = $("example").disabled = !state.prompts.length;
  changed();
}

function clear() {
  state.prompts = [];
  prompted();
}

/** The next point is of another object. */
function next() {
  state.begun = false;
  $("next").disabled = true;
  tell("Click on the next object, or drag a box around it.");
}

/** What the last box or points show becomes an example of the class that the word field names. */
function example() {
  const shown = state.prompts.at(-1);
  if (!shown || !state.picture.id) return;
  const name = $("word").value.trim() || `class ${state.words.length + 1}`;
  state.words = withExample(state.words, name, shown, state.picture.id);
  $("word").value = "";
  $("vocabulary").value = "";
  drawChips();
  clear();
}

/** The last point goes, then the box that it corrected. */
function undo() {
  const last = state.prompts.at(-1);
  if (!last) return;
  const points = last.points?.slice(0, -1) ?? [];
  state.prompts = state.prompts.slice(0, -1);
  if (points.some((point) => point.positive) || (last.points?.length && last.box)) {
    state.prompts = [...state.prompts, { ...(last.box && { box: last.box }), points }];
  }
  prompted();
}

view.addEventListener("point", ({ detail }) => {
  const last = state.prompts.at(-1);
  if (last && state.begun) state.prompts = [...state.prompts.slice(0, -1), { ...last, points: [...(last.points ?? []), detail] }];
  else if (detail.positive) state.prompts = [...state.prompts, { points: [detail] }];
  else return tell("A point beside the object needs one on it first.");
  state.begun = true;
  prompted();
});
view.addEventListener("box", ({ detail }) => {
  state.prompts = [...state.prompts, { box: detail }];
  state.begun = true;
  prompted();
});
view.addEventListener("next", next);
view.addEventListener("undo", undo);
view.addEventListener("clear", clear);
view.addEventListener("hover", ({ detail }) => {
  $("hover").textContent = detail ? under(detail) : "";
});

function under({ x, y }) {
  if (!state.map || !state.answer) return "";
  const { map, width, height, step } = state.map;
  const [column, row] = [Math.floor(x / step), Math.floor(y / step)];
  if (column >= width || row >= height) return "";
  const one = state.answer.segments[map[row * width + column] - 1];
  return one ? `${nameOf(one)} ${one.score.toFixed(2)}` : "";
}

// words

function drawChips() {
  const absent = new Set(state.answer?.absent ?? []);
  $("chips").replaceChildren(
    ...state.words.map((word, index) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = css(colourOf(index));
      const remove = element("button", { type: "button", textContent: "×", ariaLabel: `without ${word.name}` });
      remove.addEventListener("click", () => {
        state.words = state.words.filter((other) => other !== word);
        drawChips();
        $("word").focus();
        changed();
      });
      return element("li", { className: absent.has(word.name) ? "absent" : "" }, swatch, titleOf(word), remove);
    }),
  );
}

function addWord(text) {
  const [name, ...synonyms] = text.split("|").map((part) => part.trim()).filter(Boolean);
  if (!name) return;
  if (state.words.some((word) => word.name === name)) return tell(`${name} is asked for already.`);
  state.words = [...state.words, { name, synonyms }];
  $("vocabulary").value = "";
  drawChips();
  changed();
}

$("words").addEventListener("submit", (event) => {
  event.preventDefault();
  addWord($("word").value);
  $("word").value = "";
});
$("word").addEventListener("keydown", (event) => {
  if (event.key === "Backspace" && !$("word").value && state.words.length) {
    state.words = state.words.slice(0, -1);
    drawChips();
    changed();
  }
});

// everything else on the page

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

for (const id of ["vocabulary", "task", "model", "refine", "background"]) $(id).addEventListener("change", changed);
$("opacity").addEventListener("input", () => {
  view.opacity = Number($("opacity").value);
  view.draw();
});
$("threshold").addEventListener("input", repaint);
$("next").addEventListener("click", next);
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
$("example").addEventListener("click", example);
$("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
$("key").value = key();
$("access").addEventListener("submit", (event) => event.preventDefault());
$("key").addEventListener("change", () => {
  keepKey($("key").value.trim());
  offer().then(changed);
});
$("sample").addEventListener("click", async () => {
  const photograph = await fetch("/playground/sample.jpg");
  await take(new File([await photograph.blob()], "china.jpg", { type: "image/jpeg" }));
  if (state.words.length) return;
  $("background").checked = false; // these words explain the whole photograph
  ["sky", "building", "trees"].forEach(addWord);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) take(file);
});
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", over);
    if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
leaving.offer({ state, question, view, tell, shown, nameOf });

/** Models and vocabularies, for the menus; without a key that is needed there are none. */
async function offer() {
  try {
    const [{ models }, { vocabularies }] = await Promise.all([get("/v1/models"), get("/v1/vocabularies")]);
    $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
    const words = [...new Set(models.flatMap((model) => model.refinements ?? []))];
    $("refine").replaceChildren(new Option("as the model does", ""), ...words.map((word) => new Option(word, word)));
    const mine = new Option("your words", "");
    $("vocabulary").replaceChildren(mine, ...vocabularies.map(({ name }) => new Option(name, name)));
  } catch (problem) {
    refuse(problem);
  }
}

async function start() {
  await offer();
  const asked = leaving.recalled();
  for (const id of ["vocabulary", "task", "model", "refine"]) {
    if ([...$(id).options].some((option) => option.value === asked[id])) $(id).value = asked[id];
  }
  if (asked.background === false) $("background").checked = false;
  state.words = (asked.classes ?? []).map((one) => (one.name ? { synonyms: [], ...one } : { name: one, synonyms: [] }));
  drawChips();
  const sample = await fetch("/playground/sample.jpg", { method: "HEAD" }).catch(() => null);
  $("sample").hidden = !sample?.ok;
  document.body.dataset.ready = "yes";
}

start();
