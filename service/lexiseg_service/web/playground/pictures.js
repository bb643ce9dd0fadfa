// Where pictures come from: a file, a drop, the clipboard, the photograph to try.

import { $, happened, page, tell } from "/playground/page.js";
import { state } from "/playground/state.js";
import { turnTo } from "/playground/tabs.js";
import { addWord } from "/playground/words.js";

/** Takes pictures, and shows them on that view. */
export function takeOn(view) {
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    $("file").value = ""; // the same one may be chosen again
    if (file) take(file);
  });
  $("sample").addEventListener("click", async () => {
    const photograph = await fetch("/playground/sample.jpg");
    await take(new File([await photograph.blob()], "china.jpg", { type: "image/jpeg" }));
    if (state.words.length) return;
    $("background").checked = false; // these words explain the whole photograph
    ["sky", "building", "trees"].forEach(addWord);
  });

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
    let image;
    try {
      image = await createImageBitmap(file, { imageOrientation: "from-image" });
    } catch {
      tell(`${file.name || "That"} is not a picture that this browser can open.`, true);
      return;
    }
    state.picture = { file, id: null, width: image.width, height: image.height, image };
    state.prompts = [];
    turnTo("picture");
    happened("pictured");
  }
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
