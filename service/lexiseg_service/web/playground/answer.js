// Shows the answer: painted by the worker painter.js, as a list, and as one line of text.

import { $, button, colourOf, element, emit, page, persist, refill, state, subject, swatch, tell } from "./page.js";
import { seen, stacked } from "./document.js";
import { choose } from "./question.js";
import { view } from "./view.js";

const MAX_NAMES = 8; // in the result line
const PATTERNS = 3; // plain, stripes and dots
const hidden = new Set(); // names
let painter = null;
let turn = 0;
const list = () => refill("segments", (state.answer?.segments ?? []).map(line));

// Started on demand: on a slow connection its file would delay the page.
page.addEventListener("turned", () => {
  painter ??= new Worker(new URL("./painter.js", import.meta.url), { type: "module" });
  painter.onmessage = ({ data }) => data.turn === turn && state.answer && showPainted(data);
});
page.addEventListener("answered", () => {
  const { answer } = state;
  if (!answer) view.clear(); // otherwise the last answer stays until the next is painted
  state.map = null;
  turn += 1;
  list();
  $("warnings").replaceChildren(...(answer ? firstOfEach(answer) : []).map((text) => element("li", { textContent: text })));
  $("timings").textContent = answer ? `${answer.model}: ${answer.timings_ms.total.toFixed(0)} ms` : "";
  if (!answer) return;
  paint();
  tell(summary());
});
page.addEventListener("pictured", () => hidden.clear());
page.addEventListener("chosen", list);
$("threshold").addEventListener("input", paint);
for (const id of ["patterns", "names"]) persist(id, paint);

function showPainted({ map, fills, lines }) {
  state.map = map;
  emit("mapped");
  view.image = subject().image; // in a clip the segmented frame, so that masks fit the picture below them
  const named = (one, index) => (isVisible(one) && map.places[index] ? [{ ...map.places[index], text: one.name, colour: colourOf(one.colour) }] : []);
  Object.assign(view, { fills, lines, names: $("names").checked ? state.answer.segments.flatMap(named) : [] });
  view.draw();
  $("canvas").dataset.painted = String(turn);
}

function summary() {
  const { absent, segments, followed } = state.answer; // the last: what is told of followed objects
  const [objects, words] = [true, false].map((isClicked) => segments.filter(({ task }) => (task === "prompt") === isClicked));
  const named = ({ label, doubtful }) => (doubtful ? `${label} (doubtful)` : label);
  const labels = (some) => someOf([...new Set(some.map(named).filter(Boolean))]);
  const counted = ({ length }) => `${length} ${length === 1 ? "object" : "objects"}`;
  const parts = [
    followed ?? (objects.length ? `Cut out ${counted(objects)}${labels(objects) && `: ${labels(objects)}`}.` : ""),
    words.length ? `Found ${labels(words) || counted(words)}.` : "",
    absent.length ? `Not found: ${someOf(absent)}.` : segments.length || followed ? "" : "Nothing found.",
  ];
  return parts.filter(Boolean).join(" ");
}

/** One warning of each type, as sentences, with the number of others (all of read words); those about found classes first. */
function firstOfEach({ segments, warnings }) {
  const found = warnings.filter(({ field }) => segments.some((one) => field === `classes.${one.class_index}`));
  const others = warnings.filter((one) => one.type !== "no-mask-prompts" && !found.includes(one));
  const all = [...found, ...others.map((one) => ({ ...one, detail: one.detail.replace("; what it marks is a guess", "") }))];
  return [...new Set(all.map(({ type }) => type))].map((type) => {
    const [detail, ...more] = new Set(all.filter((one) => one.type === type).map((one) => one.detail));
    const plain = detail.replace("ask for semantic or panoptic", "choose regions or both").replace(/ \(the nearest .*\)|\.$/g, "");
    const sentences = plain.split("; ").map((one) => `${one[0].toUpperCase()}${one.slice(1)}.`);
    const rest = type === "translated-word" ? more.map((one) => `${one}.`) : more.length ? [`The same holds for ${more.length} more.`] : [];
    return [...sentences, ...rest].join(" ");
  });
}

function someOf(names) {
  const more = names.length - MAX_NAMES;
  const isolated = (name) => (/[\p{Script=Arabic}\p{Script=Hebrew}]/u.test(name) ? `\u2068${name}\u2069` : name); // or its neighbours change places
  return names.slice(0, MAX_NAMES).map(isolated).join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** Whether the threshold hides a segment; clicked and edited ones are always shown. */
const isLow = ({ score, task, isEdited }) => task !== "prompt" && !isEdited && score < Number($("threshold").value);

/** The segments of a document that exports have. */
export const shownOf = (doc) => seen(doc).filter((one) => !isLow(one) && !one.doubtful);

export const isVisible = (one) => !isLow(one) && !hidden.has(one.name);

function paint() {
  if (!state.answer) return;
  const { segments, size } = state.answer;
  const inks = segments.map((one) => {
    return isVisible(one) ? { colour: colourOf(one.colour), faint: one.doubtful, pattern: $("patterns").checked ? one.colour % PATTERNS : 0 } : null;
  });
  const layers = stacked(segments.filter(isVisible)).map((one) => [segments.indexOf(one) + 1, one.mask]);
  painter.postMessage({ turn, inks, layers, size });
  [...$("segments").children].forEach((line, index) => line.classList.toggle("low", isLow(segments[index])));
}

function line(one) {
  const show = ({ target }) => {
    hidden[target.checked ? "delete" : "add"](one.name);
    list();
    paint();
  };
  const box = element("input", { type: "checkbox", checked: !hidden.has(one.name), name: one.name, onchange: show });
  const isChosen = one.number != null && state.chosen.number === one.number;
  const take = () => {
    choose(isChosen ? null : one.number, true);
    $("canvas").focus();
  };
  const title = `Correct ${one.name}`;
  const pen = button("✎", take, { className: "correct", title, ariaLabel: title, ariaPressed: String(isChosen), name: `correct ${one.number}` });
  const share = (100 * one.area) / (state.answer.size[0] * state.answer.size[1]);
  return element(
    "li",
    { className: isLow(one) ? "low" : "" },
    element("label", {}, box, swatch(one.colour), one.name),
    ...(state.mode === "picture" ? [pen] : []),
    element("span", { className: "share", textContent: `${one.doubtful ? "doubtful " : ""}${one.score.toFixed(2)} · ${share.toFixed(1)} %` }),
  );
}
