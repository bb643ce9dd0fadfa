// The words that are looked for, as chips.

import { colourOf, css } from "/playground/colours.js";
import { titleOf } from "/playground/examples.js";
import { $, element, happened, page, tell } from "/playground/page.js";
import { state } from "/playground/state.js";

export function drawChips() {
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

export function addWord(text) {
  const [name, ...synonyms] = text.split("|").map((part) => part.trim()).filter(Boolean);
  if (!name) return;
  if (state.words.some((word) => word.name === name)) return tell(`${name} is asked for already.`);
  $("vocabulary").value = "";
  keep([...state.words, { name, synonyms }]);
}

function keep(words) {
  state.words = words;
  drawChips();
  happened("changed");
}

page.addEventListener("answered", drawChips);
$("words").addEventListener("submit", (event) => {
  event.preventDefault();
  addWord($("word").value);
  $("word").value = "";
});
$("word").addEventListener("keydown", (event) => {
  if (event.key === "Backspace" && !$("word").value && state.words.length) keep(state.words.slice(0, -1));
});
