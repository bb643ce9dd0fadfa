// The answer: painted by the worker, listed, summed up in a line, and named under the pointer.

import { colourOf, css } from "/playground/colours.js";
import { said, titleOf } from "/playground/follow.js";
import { $, element, happened, page, tell } from "/playground/page.js";
import { state } from "/playground/state.js";
import { thumbsOf } from "/playground/thumbs.js";

const painter = new Worker("/playground/painter.js", { type: "module" });
const MOST_NAMES = 8; // in the line of results
const SURE = 0.5; // the score from which a segment of a class is not drawn fainter
const hidden = new Set(); // labels
let map = null; // of the painter
let turn = 0;

/** Shows every answer on that view. */
export function showOn(view) {
  page.addEventListener("answered", () => {
    if (!state.answer) view.painted = null; // else the last one stays until the next is painted
    view.prompts = state.mode === "picture" ? state.prompts : [];
    view.draw();
    show();
  });
  page.addEventListener("pictured", () => hidden.clear());
  painter.onmessage = ({ data }) => {
    if (data.turn !== turn) return;
    if (data.kind === "map") {
      map = data;
      happened("mapped");
    } else {
      view.painted = data.bitmap;
      view.draw();
      $("canvas").dataset.painted = String(data.turn);
    }
  };
  $("threshold").addEventListener("input", repaint);
}

function show() {
  const { answer } = state;
  map = null;
  turn += 1;
  list();
  $("warnings").replaceChildren(...firstOfEach(answer?.warnings ?? []).map((text) => element("li", { textContent: text })));
  $("timings").textContent = answer ? `${answer.model}: ${answer.timings_ms.total.toFixed(0)} ms` : "";
  if (!answer) return;
  const [height, width] = answer.size;
  painter.postMessage({ kind: "segments", turn, width, height, segments: answer.segments.map((one) => one.mask) });
  repaint();
  tell(summary());
}

function summary() {
  if (state.answer.asked.follow) return said();
  const { absent, segments } = state.answer;
  const labels = [...new Set(segments.map((one) => one.label).filter(Boolean))];
  const some = segments.length;
  const prompted = Boolean(state.answer.asked.prompts);
  const found = labels.length && !prompted ? `Found ${someOf(labels)}.` : "";
  const cut = some && !found ? `Cut out ${some} ${some === 1 ? "object" : "objects"}${labels.length ? `, by your words ${someOf(labels)}` : ""}.` : "";
  const missing = absent?.length ? `Not found: ${someOf(absent)}.` : "";
  return [found, cut, missing || (some ? "" : "Nothing found.")].filter(Boolean).join(" ");
}

/** One warning of each type in full: of sixty unknown words each has its own. */
function firstOfEach(warnings) {
  return [...new Set(warnings.map(({ type }) => type))].map((type) => {
    const [{ detail }, ...more] = warnings.filter((one) => one.type === type);
    return `${detail.replace(/\.$/, "")}${more.length ? `; and ${more.length} more like this` : ""}.`;
  });
}

function someOf(names) {
  const more = names.length - MOST_NAMES;
  return names.slice(0, MOST_NAMES).map(apart).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** A word that is read from right to left, so that it does not turn its neighbours about. */
function apart(name) {
  return /[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(name) ? `\u2068${name}\u2069` : name;
}

/** The colour's number of each segment, -1 where it is not shown. */
export function shown() {
  const least = Number($("threshold").value);
  return state.answer.segments.map((one) => (one.score < least || hidden.has(nameOf(one)) ? -1 : numberOf(one)));
}

/** A class has the colour of its word, an object one that no word has. */
function numberOf(one) {
  const { follow, prompts, task } = state.answer.asked;
  if (follow) return one.track_id - 1;
  if (prompts) return state.words.length + one.prompt_index;
  return task === "semantic" ? one.class_index : state.words.length + one.id;
}

export function nameOf(one) {
  if (one.track_id != null) return titleOf({ number: one.track_id, label: one.label });
  return one.label ?? `object ${one.prompt_index == null ? one.id : one.prompt_index + 1}`;
}

function repaint() {
  if (!state.answer) return;
  const faint = state.answer.segments.map((one) => one.class_index != null && one.score < SURE);
  painter.postMessage({ kind: "draw", turn, shown: shown(), faint });
  [...$("segments").children].forEach((line, index) =>
    line.classList.toggle("low", state.answer.segments[index].score < Number($("threshold").value)),
  );
}

function list() {
  const focused = document.activeElement?.dataset.name;
  $("columns").hidden = !state.answer?.segments.length;
  $("segments").replaceChildren(...(state.answer?.segments ?? []).map(line));
  if (focused) [...$("segments").querySelectorAll("[data-name]")].find((one) => one.dataset.name === focused)?.focus();
}

function line(one) {
  const box = element("input", { type: "checkbox", checked: !hidden.has(nameOf(one)) });
  box.dataset.name = nameOf(one);
  box.addEventListener("change", () => {
    if (box.checked) hidden.delete(nameOf(one));
    else hidden.add(nameOf(one));
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
    ...(state.answer.asked.follow ? [] : thumbsOf(one)),
    element("span", { className: "share", textContent: `${one.score.toFixed(2)} · ${share.toFixed(1)} %` }),
  );
}

/** The segment at a pixel of the picture, in words. */
export function under({ x, y }) {
  if (!map || !state.answer) return "";
  const [column, row] = [Math.floor(x / map.step), Math.floor(y / map.step)];
  if (column >= map.width || row >= map.height) return "";
  const one = state.answer.segments[map.map[row * map.width + column] - 1];
  return one ? `${nameOf(one)} ${one.score.toFixed(2)}` : "";
}
