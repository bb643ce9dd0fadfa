// Objects selected by clicks or boxes in a clip, and what words find there, tracked by a stream of the service.

import { encoded, remove, request } from "../engine/server.js";
import { $, button, element, emit, modelOptions, named, refill, state, swatch } from "../page.js";
import { nameOf } from "../question.js";

let stream = null; // {id, model, query}: `query` is the last one, as JSON
let last = 0; // number of the newest object
let ended = []; // numbers of stopped objects that the service has not been told of
let isScattered = false; // whether frames reach other gateways than their stream's: a balancer without sticky sessions
let lastFrame = null; // frame of the last answer

window.addEventListener("pagehide", closeStream);

/** The question about followed objects, or null if there are none. @returns {any} */
export const followed = () => (state.followed.length ? { ...named(), ...modelOptions(), refine: undefined } : null); // refines single pictures

/** Starts an object with a prompt in `frame`, a promise of a picture. */
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

/** The next frame and its answer; a frame that starts an object is sent before the one that `grab` returns. */
export async function follow(grab, words, signal) {
  const one = state.followed.find(({ begins }) => begins);
  const stopped = [...ended];
  const frame = await (one ? one.begins.frame : grab());
  const answer = await ask(frame, words, one ? [{ track_id: one.number, prompt: one.begins.prompt }] : [], stopped, signal).catch((problem) => {
    if (one && problem.status === 422) withdraw(one.number); // an invalid prompt is not retried
    throw problem;
  });
  if (one && !state.followed.includes(one)) ended.push(one.number); // stopped in the meantime
  ended = ended.filter((number) => !stopped.includes(number));
  if (one) one.begins = null;
  lastFrame = frame;
  state.followed.forEach((each) => {
    const segment = answer.segments.find(({ track_id: number }) => number === each.number);
    const [x, y, across, down] = segment?.bbox ?? [];
    each.lost = !segment && !each.begins;
    each.box = segment ? [x, y, x + across, y + down] : null;
    if (segment) each.label = segment.label; // otherwise the last label stays
  });
  list();
  return { frame, answer };
}

/** The answer about words in the next frame, with a track id for each segment; null where frames do not reach their stream. */
export const look = async (frame, words, signal) =>
  isScattered ? null : ask(frame, words, [], [], signal).catch((problem) => {
    if (problem.type !== "unknown-stream") throw problem;
    isScattered = true;
    return null;
  });

async function ask(frame, words, follow, unfollow, signal) {
  const query = JSON.stringify(words);
  const objects = state.followed.filter(({ box }) => box).map(({ number, box }) => ({ track_id: number, prompt: { box } }));
  if (stream && stream.model !== words.model) closeStream(); // another model cannot use this stream's state
  if (stream) {
    try {
      if (stream.query !== query) await request("PUT", `/v1/streams/${stream.id}`, words, signal);
      stream.query = query;
      const answer = await send(frame, follow, unfollow, signal);
      if (!answer.state_reset || !objects.length) return answer;
      closeStream(); // the worker that knew the objects is gone
    } catch (problem) {
      if (problem.type !== "unknown-stream") throw problem;
      stream = null; // idle for too long, or the server restarted
    }
  }
  const { stream: id } = await request("POST", "/v1/streams", words, signal);
  stream = { id, model: words.model, query };
  if (objects.length) await send(lastFrame, objects, [], signal); // a new stream begins with them
  return send(frame, follow, [], signal);
}

const send = async (frame, follow, unfollow, signal) =>
  request("POST", `/v1/streams/${stream.id}/frames`, { image: await encoded(frame), follow, unfollow }, signal);

function closeStream() {
  if (stream) remove(`/v1/streams/${stream.id}`).catch(() => null); // it also expires when idle
  stream = null;
}

export function followSummary() {
  const names = (lost) => state.followed.filter((one) => one.lost === lost).map(({ label, number }) => nameOf(label, number, number)).join(", ");
  return [["Following", names(false)], ["Lost:", names(true)]].filter(([, some]) => some).map(([what, some]) => `${what} ${some}.`).join(" ");
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
