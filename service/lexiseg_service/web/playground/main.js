// The playground: a picture, words or prompts, and what the service finds.

import { get, keepKey, key } from "/playground/api.js";
import { showOn, under } from "/playground/answer.js";
import { refuse } from "/playground/asking.js";
import { cameraFor, playOn } from "/playground/video.js";
import * as leaving from "/playground/leaving.js";
import { $, happened, page } from "/playground/page.js";
import { dropOn, takeOn } from "/playground/pictures.js";
import { previewOn } from "/playground/preview.js";
import { promptOn } from "/playground/prompts.js";
import { state } from "/playground/state.js";
import { thumbsFor } from "/playground/thumbs.js";
import { View } from "/playground/view.js";
import { drawChips } from "/playground/words.js";

const view = new View($("canvas"));
showOn(view);
promptOn(view);
const take = takeOn(view);
const open = playOn(view, take);
cameraFor(take);
dropOn(take, open);
previewOn(view);
thumbsFor(offer);
leaving.offer(view);

let pointed = null; // the pixel that the pointer or the keyboard is at
view.addEventListener("hover", ({ detail }) => {
  pointed = detail;
  name();
});
for (const told of ["answered", "mapped"]) page.addEventListener(told, name);
for (const id of ["vocabulary", "task", "model", "refine", "background"]) {
  $(id).addEventListener("change", () => happened("changed"));
}
$("opacity").addEventListener("input", () => {
  view.opacity = Number($("opacity").value);
  view.draw();
});
$("key").value = key();
$("access").addEventListener("submit", (event) => event.preventDefault());
$("key").addEventListener("change", () => {
  keepKey($("key").value.trim());
  offer().then(() => happened("changed"));
});

/** What lies under the pointer, by the answer that shows: it may rest while another comes. */
function name() {
  $("hover").textContent = pointed ? under(pointed) : "";
}

/** Models and vocabularies, for the menus; without a key that is needed there are none. */
async function offer() {
  try {
    const [{ models }, { vocabularies }] = await Promise.all([get("/v1/models"), get("/v1/vocabularies")]);
    state.models = models;
    $("model").replaceChildren(...models.map((model) => new Option(model.name, model.name)));
    const words = [...new Set(models.flatMap((model) => model.refinements ?? []))];
    $("refine").replaceChildren(new Option("default", ""), ...words.map((word) => new Option(word, word)));
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
