// Tools for the segments of a picture: history, label, merge, split and delete, by buttons and by keys.

import { EMPTY, change, segmentOf, split, undo, withFields } from "./document.js";
import { $, element, emit, page, state, tell } from "./page.js";
import { inOrder, nameOf } from "./question.js";
import { view } from "./view.js";

const BRUSH_STEP = 1.25; // factor of one key press

/** Changes the chosen segment in turn; `act` returns a document, or nothing. */
function edit(act) {
  const { picture, chosen } = state;
  inOrder(() => {
    const one = picture && segmentOf(picture.doc, chosen.number);
    if (!one) return tell("Choose a segment first: click on it, or ✎ in the list.");
    const doc = act(picture.doc, one);
    if (doc) change(picture, doc);
  });
}

/** Names the chosen segment; it is no longer of the word that found it. */
function rename(name) {
  const label = name.trim();
  const index = state.words.findIndex((word) => word.name === label);
  edit((doc, one) => label && label !== one.label && withFields(doc, one.number, { label, class_index: index < 0 ? null : index, isNamed: true }));
}

const acts = {
  undo: () => inOrder(() => undo()),
  redo: () => inOrder(() => undo("future", "past")),
  delete: () => edit((doc, one) => withFields(doc, one.number, { isGone: true })),
  split: () => edit((doc, one) => split(doc, one) ?? tell("This segment is one part: erase a line through it first.")),
  merge: () => {
    state.isMerging = !state.isMerging;
    if (state.isMerging) tell("Click on the segment to merge with.");
    emit("chosen");
  },
  next: () => emit("next"),
};
for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", act);
$("label").addEventListener("change", () => rename($("label").value)); // Enter changes it before it submits
$("tools").addEventListener("submit", () => $("canvas").focus());
const backToPicture = ({ detail, target }) => detail && target.type !== "text" && $("canvas").focus({ preventScroll: true }); // by a pointer
for (const id of ["tools", "looks"]) $(id).addEventListener("click", backToPicture);
$("tools").addEventListener("input", () => view.draw());

const resize = (factor) => ($("radius").value = String($("radius").valueAsNumber * factor));
const keys = { d: acts.delete, delete: acts.delete, m: acts.merge, s: acts.split, "[": () => resize(1 / BRUSH_STEP), "]": () => resize(BRUSH_STEP) };
$("canvas").addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || state.mode !== "picture") return;
  const word = state.words[Number(event.key) - 1];
  const act = keys[event.key.toLowerCase()] ?? (word && state.chosen.number && (() => rename(word.name)));
  if (!act) return;
  act();
  event.preventDefault();
  view.draw();
});
document.addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key) || state.mode !== "picture") return;
  const field = /** @type {any} */ (event.target);
  if (field.matches("[type=text], [type=url], [type=password]") && field.value) return; // it has a history of its own
  event.preventDefault();
  (key === "y" || event.shiftKey ? acts.redo : acts.undo)();
});

for (const name of ["answered", "chosen"]) page.addEventListener(name, () => {
  const { doc, past, future } = state.picture ?? { doc: EMPTY, past: [], future: [] };
  const one = segmentOf(doc, state.chosen.number);
  if (!one && $("correcting").contains(document.activeElement)) $("canvas").focus();
  $("correcting").hidden = !one;
  for (const [id, steps] of [["undo", past], ["redo", future]]) $(id).setAttribute("aria-disabled", String(!steps.length));
  state.isMerging &&= Boolean(one);
  $("merge").setAttribute("aria-pressed", String(state.isMerging));
  if (!one) return;
  $("corrected").textContent = nameOf(one.label, one.number, null);
  if (document.activeElement !== $("label")) $("label").value = one.label ?? "";
  $("labels").replaceChildren(...state.words.map(({ name }) => element("option", { value: name })));
});
