// The words that are looked for, as chips.

import { colourOf, css } from "/playground/colours.js";
import { titleOf } from "/playground/examples.js";
import { $, element, happened, page, tell } from "/playground/page.js";
import { state } from "/playground/state.js";

export function drawChips() {
  const list = $("vocabulary").value; // asked instead of the words
  $("listed").hidden = !list;
  $("listed").textContent = `The list ${list} is asked, and not your words; adding a word ends that.`;
  $("chips").classList.toggle("resting", Boolean(list));
  const absent = new Set(state.answer?.absent ?? []);
  $("chips").replaceChildren(
    ...state.words.map((word, index) => {
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = css(colourOf(index));
      const remove = element("button", { type: "button", textContent: "×", ariaLabel: `without ${word.name}` });
      remove.addEventListener("click", () => {
        keep(state.words.filter((other) => other !== word));
        $("word").focus();
      });
      return element("li", { className: absent.has(word.name) ? "absent" : "" }, swatch, titleOf(word), remove);
    }),
  );
}

/** One chip for each word between commas: `sofa|couch, dog` are two, the first with a synonym. */
export function addWords(text) {
  const words = text.split(",").map(wordOf).filter(Boolean);
  const known = new Set(state.words.map(({ name }) => name));
  const fresh = words.filter(({ name }) => !known.has(name) && known.add(name));
  if (fresh.length) {
    $("vocabulary").value = "";
    keep([...state.words, ...fresh]);
    $("chips").scrollTop = $("chips").scrollHeight;
  } else if (words.length) tell(`${words.map(({ name }) => name).join(", ")}: asked for already.`);
}

function wordOf(text) {
  const [name, ...synonyms] = text.split("|").map((part) => part.trim()).filter(Boolean);
  return name ? { name, synonyms } : null;
}

function keep(words) {
  state.words = words;
  drawChips();
  happened("changed");
}

page.addEventListener("answered", drawChips);
page.addEventListener("changed", drawChips);
$("words").addEventListener("submit", (event) => {
  event.preventDefault();
  addWords($("word").value);
  $("word").value = "";
});
// A pasted list has a word on each line; a field of one line would make one word of them all.
$("word").addEventListener("paste", (event) => {
  const lines = event.clipboardData.getData("text").split(/[\r\n\t]+/).map((line) => line.trim()).filter(Boolean);
  if (lines.length < 2) return;
  event.preventDefault();
  document.execCommand("insertText", false, lines.join(", "));
});
$("word").addEventListener("keydown", (event) => {
  if (event.key === "Backspace" && !$("word").value && state.words.length) keep(state.words.slice(0, -1));
});
