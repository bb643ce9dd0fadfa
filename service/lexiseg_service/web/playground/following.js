// Objects that a click or a box shows in a clip, followed by a stream of the service.

import { remove, request } from "./engine/server.js";
import { $, button, element, emit, modelOptions, named, refill, state, swatch } from "./page.js";
import { nameOf } from "./question.js";

let stream = null; // {id, model, query} of the service: its model, and its last query in JSON
let last = 0; // number
let ended = []; // numbers, which no frame has told the service of yet
let lastFrame = null; // that of the last answer

window.addEventListener("pagehide", closeStream);

/** What the next frame is asked, or null where nothing is followed. */
export const followed = () => (state.followed.length ? { follow: state.followed.map(({ number }) => number), ...named(), ...modelOptions() } : null);

/** `frame`, a picture to come, shows one more object. */
export function begin(prompt, frame) {
  state.followed.push({ number: (last += 1), begins: { prompt, frame }, box: null, lost: false, label: null });
  list();
}

export function stop(number) {
  if (!state.followed.find((one) => one.number === number)?.begins) ended.push(number);
  withdraw(number);
  if (!state.followed.length) forget();
  emit("changed");
}

function withdraw(number) {
  state.followed = state.followed.filter((one) => one.number !== number);
  list();
}

export function forget() {
  closeStream();
  [ended, lastFrame, last] = [[], null, 0];
  state.followed = [];
  list();
}

/** The answer about the next frame, and the frame: one that shows an object goes before what `grab` gives. */
export async function follow(grab, signal) {
  const one = state.followed.find(({ begins }) => begins);
  const stopped = [...ended];
  const frame = await (one ? one.begins.frame : grab());
  const answer = await ask(frame, one ? [{ track_id: one.number, prompt: one.begins.prompt }] : [], stopped, signal).catch((problem) => {
    if (one && problem.status === 422) withdraw(one.number); // what cannot be shown so, is not tried again
    throw problem;
  });
  if (one && !state.followed.includes(one)) ended.push(one.number); // stopped meanwhile
  ended = ended.filter((number) => !stopped.includes(number));
  if (one) one.begins = null;
  lastFrame = frame;
  state.followed.forEach((each) => {
    const segment = answer.segments.find(({ track_id: number }) => number === each.number);
    const [x, y, across, down] = segment?.bbox ?? [];
    each.lost = !segment && !each.begins;
    each.box = segment ? [x, y, x + across, y + down] : null;
    if (segment) each.label = segment.label; // else it stays
  });
  list();
  return { frame, answer };
}

async function ask(frame, follow, unfollow, signal) {
  const model = $("model").value;
  const words = { ...(model && { model }), ...named() };
  const query = JSON.stringify(words);
  if (stream && stream.model !== model) closeStream(); // another one knows nothing of what this one saw
  if (stream) {
    try {
      if (stream.query !== query) await request("PUT", `/v1/streams/${stream.id}`, words, signal);
      stream.query = query;
      return await send(frame, follow, unfollow, signal);
    } catch (problem) {
      if (problem.type !== "unknown-stream") throw problem;
      stream = null; // it was silent for too long, or its server began anew
    }
  }
  const { stream: id } = await request("POST", "/v1/streams", words, signal);
  stream = { id, model, query };
  // Another stream gets the objects of the last frame, by their boxes.
  const objects = state.followed.filter(({ box }) => box).map(({ number, box }) => ({ track_id: number, prompt: { box } }));
  if (objects.length) await send(lastFrame, objects, [], signal);
  return send(frame, follow, [], signal);
}

async function send(frame, follow, unfollow, signal) {
  const bytes = Array.from(new Uint8Array(await frame.file.arrayBuffer()), (one) => String.fromCharCode(one));
  return request("POST", `/v1/streams/${stream.id}/frames`, { image: { base64: btoa(bytes.join("")) }, follow, unfollow }, signal);
}

function closeStream() {
  if (stream) remove(`/v1/streams/${stream.id}`).catch(() => null); // it ends by itself, too
  stream = null;
}

/** What became of each object, in a line. */
export function followSummary() {
  const names = (lost) => state.followed.filter((one) => one.lost === lost).map(({ label, number }) => nameOf(label, number, number));
  const [here, gone] = [names(false), names(true)];
  const parts = [here.length && `Following ${here.join(", ")}.`, gone.length && `Lost: ${gone.join(", ")}.`];
  return parts.filter(Boolean).join(" ");
}

function list() {
  const hadFocus = $("objects").contains(document.activeElement);
  if (!refill("objects", state.followed.map(line)) && hadFocus) $("canvas").focus();
}

function line({ number, lost, label }) {
  const end = button("Stop", () => stop(number), { ariaLabel: `Stop following object ${number}`, name: `stop ${number}` });
  const title = nameOf(label, number, number) + (lost ? ": lost" : "");
  return element("li", { className: lost ? "lost" : "" }, swatch(state.words.length + number - 1), element("span", {}, title), end);
}
