// Objects of a clip that a click or a box has shown once: a stream of the service follows them from frame to frame.

import { post, Problem, put, remove } from "/playground/api.js";
import { colourOf, css } from "/playground/colours.js";
import { $, element, happened } from "/playground/page.js";
import { manner, named, state } from "/playground/state.js";

let stream = null; // {id, model, asked} of the service: its model, and all that it was asked last
let last = 0; // number
let begun = []; // {number, prompt, shown}, which no frame has told the service of yet
let ended = []; // numbers, likewise
let seen = null; // {shown, boxes}: the last answer's frame, and where each object was in it

window.addEventListener("pagehide", leave);

/** What the next frame is asked, or null where nothing is followed. */
export function followed() {
  return state.followed.length ? { follow: state.followed.map(({ number }) => number), ...named(), ...manner() } : null;
}

/** `shown`, a picture to come, shows one more object. */
export function begin(prompt, shown) {
  last += 1;
  begun.push({ number: last, prompt, shown });
  state.followed = [...state.followed, { number: last, lost: false, label: null }];
  list();
}

export function stop(number) {
  if (begun.some((one) => one.number === number)) begun = begun.filter((one) => one.number !== number);
  else ended.push(number);
  state.followed = state.followed.filter((one) => one.number !== number);
  if (!state.followed.length) forget();
  list();
  happened("changed");
}

/** All of them, as when another clip comes. */
export function forget() {
  leave();
  [begun, ended, seen, last] = [[], [], null, 0];
  state.followed = [];
  list();
}

/** The answer about the next frame, and the frame: one that shows an object goes before what `grab` gives. */
export async function follow(grab, signal) {
  const one = begun[0];
  const over = [...ended];
  const shown = await (one ? one.shown : grab());
  let answer;
  try {
    answer = await ask(shown, one ? [one] : [], over, signal);
  } catch (problem) {
    if (one && problem.status === 422) withdraw(one); // what cannot be shown so, is not tried again
    throw problem;
  }
  if (one && !state.followed.some(({ number }) => number === one.number)) ended.push(one.number); // stopped meanwhile
  begun = begun.filter((other) => other !== one);
  ended = ended.filter((number) => !over.includes(number));
  const boxes = new Map(answer.segments.map(({ track_id, bbox: [x, y, w, h] }) => [track_id, [x, y, x + w, y + h]]));
  seen = { shown, boxes };
  const waiting = new Set(begun.map(({ number }) => number));
  const labels = new Map(answer.segments.map(({ track_id, label }) => [track_id, label]));
  state.followed = state.followed.map(({ number, label }) => ({
    number,
    lost: !boxes.has(number) && !waiting.has(number),
    label: labels.has(number) ? labels.get(number) : label, // as it was last
  }));
  list();
  return { shown, answer };
}

function withdraw(one) {
  begun = begun.filter((other) => other !== one);
  state.followed = state.followed.filter(({ number }) => number !== one.number);
  list();
}

async function ask(shown, follow, unfollow, signal) {
  const model = $("model").value;
  const words = { ...(model && { model }), ...named() };
  if (stream && stream.model !== model) leave(); // another one knows nothing of what this one saw
  if (stream) {
    try {
      if (stream.asked !== JSON.stringify(words)) {
        await put(`/v1/streams/${stream.id}`, words, {}, signal);
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
  const known = state.followed.filter(({ number }) => seen?.boxes.has(number));
  const objects = known.map(({ number }) => ({ number, prompt: { box: seen.boxes.get(number) } }));
  if (objects.length) await send(seen.shown, objects, [], signal);
}

async function send(shown, objects, unfollow, signal) {
  const content = {
    image: { base64: await encoded(shown.file) },
    follow: objects.map(({ number, prompt }) => ({ track_id: number, prompt })),
    unfollow,
  };
  return post(`/v1/streams/${stream.id}/frames`, content, signal);
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
export function said() {
  const names = (lost) => state.followed.filter((one) => one.lost === lost).map(titleOf);
  const [here, gone] = [names(false), names(true)];
  const parts = [here.length && `Following ${here.join(", ")}.`, gone.length && `Lost: ${gone.join(", ")}.`];
  return parts.filter(Boolean).join(" ");
}

/** The numbers, where the objects are in an answer, for the view to write. */
export function numbersIn(answer) {
  return answer.segments.map(({ track_id, bbox }) => ({ x: bbox[0], y: bbox[1], text: String(track_id) }));
}

function list() {
  const focused = document.activeElement?.dataset.object;
  $("objects").hidden = $("followed").hidden = !state.followed.length;
  $("objects").replaceChildren(...state.followed.map(line));
  if (focused) ($("objects").querySelector(`[data-object="${focused}"]`) ?? $("canvas")).focus();
}

/** An object that is followed, by the label of your words and its number. */
export function titleOf({ number, label }) {
  return `${label ?? "object"} ${number}`;
}

function line({ number, lost, label }) {
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = css(colourOf(number - 1));
  const button = element("button", { type: "button", textContent: "Stop", ariaLabel: `Stop following object ${number}` });
  button.dataset.object = number;
  button.addEventListener("click", () => stop(number));
  return element("li", { className: lost ? "lost" : "" }, swatch, element("span", {}, titleOf({ number, label }) + (lost ? ": lost" : "")), button);
}
