// Objects that a click or a box shows in a clip, followed by a stream of the service.

import { post, put, remove } from "./engine/server.js";
import { $, button, element, happened, manner, named, Problem, refill, state, swatch } from "./page.js";

let stream = null; // {id, model, asked} of the service: its model, and all that it was asked last
let last = 0; // number
let ended = []; // numbers, which no frame has told the service of yet
let seen = null; // the last answer's frame

window.addEventListener("pagehide", leave);

/** What the next frame is asked, or null where nothing is followed. */
export function followed() {
  return state.followed.length ? { follow: state.followed.map(({ number }) => number), ...named(), ...manner() } : null;
}

/** `shown`, a picture to come, shows one more object. */
export function begin(prompt, shown) {
  last += 1;
  state.followed.push({ number: last, begins: { prompt, shown }, box: null, lost: false, label: null });
  list();
}

export function stop(number) {
  if (!state.followed.find((one) => one.number === number)?.begins) ended.push(number);
  withdraw(number);
  if (!state.followed.length) forget();
  happened("changed");
}

function withdraw(number) {
  state.followed = state.followed.filter((one) => one.number !== number);
  list();
}

/** All of them, as when another clip comes. */
export function forget() {
  leave();
  [ended, seen, last] = [[], null, 0];
  state.followed = [];
  list();
}

/** The answer about the next frame, and the frame: one that shows an object goes before what `grab` gives. */
export async function follow(grab, signal) {
  const one = state.followed.find(({ begins }) => begins);
  const over = [...ended];
  const shown = await (one ? one.begins.shown : grab());
  let answer;
  try {
    answer = await ask(shown, one ? [{ track_id: one.number, prompt: one.begins.prompt }] : [], over, signal);
  } catch (problem) {
    if (one && problem.status === 422) withdraw(one.number); // what cannot be shown so, is not tried again
    throw problem;
  }
  if (one && !state.followed.includes(one)) ended.push(one.number); // stopped meanwhile
  ended = ended.filter((number) => !over.includes(number));
  if (one) one.begins = null;
  seen = shown;
  for (const each of state.followed) learn(each, answer.segments.find(({ track_id: number }) => number === each.number));
  list();
  return { shown, answer };
}

/** What became of an object, by its segment; where there is none the label stays. */
function learn(one, segment) {
  one.lost = !segment && !one.begins;
  one.box = null;
  if (!segment) return;
  const [x, y, across, down] = segment.bbox;
  one.box = [x, y, x + across, y + down];
  one.label = segment.label;
}

async function ask(shown, follow, unfollow, signal) {
  const model = $("model").value;
  const words = { ...(model && { model }), ...named() };
  if (stream && stream.model !== model) leave(); // another one knows nothing of what this one saw
  if (stream) {
    try {
      if (stream.asked !== JSON.stringify(words)) {
        await put(`/v1/streams/${stream.id}`, words, signal);
        stream.asked = JSON.stringify(words);
      }
      return await send(shown, follow, unfollow, signal);
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.type !== "unknown-stream") throw problem;
      stream = null; // it was silent for too long, or its server began anew
    }
  }
  const { stream: id } = await post("/v1/streams", words, signal);
  stream = { id, model, asked: JSON.stringify(words) };
  await again(signal);
  return send(shown, follow, [], signal);
}

/** Another stream is shown what was seen last, by its box. */
async function again(signal) {
  const objects = state.followed.filter(({ box }) => box).map(({ number, box }) => ({ track_id: number, prompt: { box } }));
  if (objects.length) await send(seen, objects, [], signal);
}

async function send(shown, follow, unfollow, signal) {
  return post(`/v1/streams/${stream.id}/frames`, { image: { base64: await encoded(shown.file) }, follow, unfollow }, signal);
}

function leave() {
  if (stream) remove(`/v1/streams/${stream.id}`).catch(() => null); // it ends by itself, too
  stream = null;
}

function encoded(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** What became of each object, in a line. */
function said() {
  const names = (lost) => state.followed.filter((one) => one.lost === lost).map(titleOf);
  const [here, gone] = [names(false), names(true)];
  const parts = [here.length && `Following ${here.join(", ")}.`, gone.length && `Lost: ${gone.join(", ")}.`];
  return parts.filter(Boolean).join(" ");
}

/** An answer of the stream as the page shows it. */
export function followedAnswer(answer) {
  const segments = answer.segments.map((one) => ({
    ...one,
    task: "prompt",
    colour: one.track_id - 1,
    name: titleOf({ number: one.track_id, label: one.label }),
  }));
  return { ...answer, segments, absent: [], warnings: answer.warnings ?? [], summary: said() };
}

function list() {
  const stood = $("objects").contains(document.activeElement);
  $("objects").hidden = $("followed").hidden = !state.followed.length;
  if (!refill("objects", state.followed.map(line)) && stood) $("canvas").focus();
}

/** An object that is followed, by the label of your words and its number. */
function titleOf({ number, label }) {
  return `${label ?? "object"} ${number}`;
}

function line({ number, lost, label }) {
  const end = button("Stop", () => stop(number), { ariaLabel: `Stop following object ${number}`, name: `stop ${number}` });
  const title = titleOf({ number, label }) + (lost ? ": lost" : "");
  return element("li", { className: lost ? "lost" : "" }, swatch(number - 1), element("span", {}, title), end);
}
