// Where pictures come from: a file, a drop, the clipboard, the photograph to try.

import { Problem, segment } from "/playground/api.js";
import { wordsOf } from "/playground/busy.js";
import { $, happened, page, tell } from "/playground/page.js";
import { manner, state } from "/playground/state.js";
import { addWords } from "/playground/words.js";

const WORDS = ["sky", "building", "trees"]; // explain the photograph to try, the whole of it
const FOREIGN = /\.(heic|heif|avif|tiff?)$/i; // what phones and scanners write; the service reads them
const TRIED = "lexiseg-tried"; // kept for this tab: the question is still the photograph's own

/** Takes pictures, and shows them on that view. */
export function takeOn(view) {
  let turn = 0;
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // the same one may be chosen again
    if (file) take(file);
  });
  $("sample").addEventListener("click", async () => {
    const photograph = await fetch("/playground/sample.jpg");
    await take(new File([await photograph.blob()], "china.jpg", { type: "image/jpeg" }));
    if (state.words.length) return;
    $("background").checked = false;
    sessionStorage.setItem(TRIED, "yes");
    addWords(WORDS.join());
  });
  $("background").addEventListener("change", () => sessionStorage.removeItem(TRIED)); // now it is the visitor's

  page.addEventListener("turned", () => state.mode === "picture" && state.picture && view.show(state.picture.image));
  $("another").addEventListener("click", () => {
    if (state.mode === "picture") state.picture = null;
    else state.clip = null;
    turnTo(state.mode);
    if (state.mode === "picture") happened("pictured");
    (state.mode === "picture" ? $("file") : $("clip")).focus();
  });

  return take;

  async function take(file) {
    const mine = (turn += 1);
    const picture = await opened(file);
    if (!picture || mine !== turn) return; // meanwhile another was chosen
    putBack();
    state.picture = picture;
    state.prompts = [];
    turnTo("picture");
    happened("pictured");
  }
}

/** `{file, id, width, height, image}`; nothing, and that is told, where neither browser nor service can open it. */
async function opened(file) {
  const name = file.name || "That";
  if (!file.size) return tell(`${name} is empty.`, true);
  try {
    const image = await createImageBitmap(file, { imageOrientation: "from-image" });
    return { file, id: null, width: image.width, height: image.height, image };
  } catch {
    if (!FOREIGN.test(name)) return tell(`${name} is not a picture that this browser can open.`, true);
  }
  tell(`This browser cannot open ${name}: asking the service…`);
  try {
    return await shownByService(file);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    return tell(`${name}: ${problem.status === 401 ? wordsOf(problem) : problem.message}`, true);
  }
}

/** As the service reads it, at its own size, of at most 1,280 pixels: an answer's overlay, with nothing laid over. */
async function shownByService(file) {
  const picture = { file, id: null };
  const nothing = { classes: ["picture"], threshold: 1, mask: "none", overlay: true, ...manner() };
  const { overlay, size: [height, width] } = await segment(picture, nothing);
  const bytes = Uint8Array.from(atob(overlay), (one) => one.charCodeAt(0));
  const image = await createImageBitmap(new Blob([bytes]), { resizeWidth: width, resizeHeight: height });
  return { ...picture, width, height, image };
}

/** What came with the photograph to try would paint all of another picture: it goes, the visitor's own words stay. */
function putBack() {
  if (!sessionStorage.getItem(TRIED)) return;
  sessionStorage.removeItem(TRIED);
  $("background").checked = true;
  state.words = state.words.filter(({ name }) => !WORDS.includes(name));
}

/** Pictures and clips that are dropped, pictures that are pasted. */
export function dropOn(take, open) {
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      $("stage").classList.toggle("over", over);
      if (name !== "drop" || !event.dataTransfer.files.length) return;
      const [file] = event.dataTransfer.files;
      (file.type.startsWith("video/") ? open : take)(file);
    });
  }
}

const MODES = ["picture", "video"];

/** To the other tab, or to this one with something else on it; tells `turned`. */
export function turnTo(mode) {
  state.mode = mode;
  const image = mode === "picture" ? state.picture : state.clip;
  for (const one of MODES) {
    $(`tab-${one}`).ariaSelected = String(one === mode);
    $(`tab-${one}`).tabIndex = one === mode ? 0 : -1;
  }
  const stood = ["empty", "no-clip"].some((id) => $(id).contains(document.activeElement));
  $("stage").setAttribute("aria-labelledby", `tab-${mode}`);
  $("empty").hidden = mode !== "picture" || Boolean(image);
  $("no-clip").hidden = mode !== "video" || Boolean(image);
  $("canvas").hidden = !image;
  $("player").hidden = mode !== "video" || !image;
  $("another").hidden = !image;
  if (stood && image) $("canvas").focus(); // what was pressed is gone
  state.answer = null;
  tell("");
  happened("answered");
  happened("turned");
  happened("changed");
}

for (const mode of MODES) $(`tab-${mode}`).addEventListener("click", () => state.mode !== mode && turnTo(mode));
$("tabs").addEventListener("keydown", (event) => {
  if (!event.key.startsWith("Arrow")) return;
  turnTo(MODES[1 - MODES.indexOf(state.mode)]);
  $(`tab-${state.mode}`).focus();
  event.preventDefault();
});
