// A clip from disk plays, and the frame that shows is asked about; while that question is on its way other frames pass,
// and the next question is of the newest. Objects that a click or a box shows are followed by a stream of the service.

import * as engine from "./engine/server.js";
import { post, put, remove } from "./engine/server.js";
import { $, baseName, button, element, happened, jpegOf, manner, named, page, Problem, refill, state, swatch, takesPrompts, tell, wordsQuestion } from "./page.js";
import { asking, combined, inTurn, stop as stopAsking } from "./question.js";

const MAX_SIDE = 1280; // pixels of the longer side that is sent
const FOLLOW_STEP = 0.1; // seconds of the clip between two frames in which objects are followed
const MIN_RATE = 0.1; // of the clip's own speed
const STEPS = 1000; // of the seeking bar
const KEPT = 12; // answers that a rate is of

/** Plays clips on that view; `take` gets frames that become pictures, `turn` shows the tab. Returns what opens a file. */
export function playOn(view, take, turn) {
  const clip = document.createElement("video");
  clip.muted = true;
  clip.playsInline = true;
  let times = []; // of the last answers
  let asked = { time: -1, text: "" }; // of the last frame that was asked about
  let seen = 0; // seconds: the frame that shows, which on the way to another place is still the one before

  for (const name of ["play", "pause", "ended", "timeupdate", "seeked"]) clip.addEventListener(name, control);
  clip.addEventListener("seeking", () => drop());
  clip.addEventListener("seeked", look);
  clip.addEventListener("pause", look);
  page.addEventListener("changed", () => state.mode === "video" && again());
  view.addEventListener("point", ({ detail: { positive, ...point } }) => {
    if (!positive) return state.mode === "video" && tell("In a clip a click begins an object; Stop ends it.");
    start({ points: [point] });
  });
  view.addEventListener("box", ({ detail: { box } }) => start({ box }));
  view.addEventListener("undo", () => state.mode === "video" && state.followed.length && stop(state.followed.at(-1).number));
  view.addEventListener("clear", () => {
    if (state.mode !== "video" || !state.followed.length) return;
    forget();
    drop();
    again();
  });
  page.addEventListener("refused", () => clip.pause());
  page.addEventListener("turned", () => {
    clip.pause();
    drop();
    if (!state.clip) forget();
    if (state.mode === "video" && state.clip) view.show(clip);
  });
  $("play").addEventListener("click", () => (clip.paused ? clip.play() : clip.pause()));
  $("seek").addEventListener("input", () => (clip.currentTime = ($("seek").value / STEPS) * clip.duration));
  $("frame").addEventListener("click", async () => take((await grab()).file));

  clip.requestVideoFrameCallback(frame);

  return open;

  async function open(file) {
    URL.revokeObjectURL(clip.src);
    clip.src = URL.createObjectURL(file);
    try {
      await new Promise((resolve, reject) => {
        clip.onloadeddata = resolve;
        clip.onerror = reject;
      });
    } catch {
      tell(`${file.name} is not a video that this browser can play.`, true);
      return;
    }
    const less = Math.min(1, MAX_SIDE / Math.max(clip.videoWidth, clip.videoHeight));
    clip.width = Math.round(clip.videoWidth * less);
    clip.height = Math.round(clip.videoHeight * less);
    forget();
    state.clip = { name: file.name };
    state.frame = null;
    turn();
    control();
    // A browser that lets nothing play by itself leaves the button.
    await clip.play().catch(() => null);
  }

  function frame(now, { mediaTime }) {
    seen = mediaTime;
    if (state.mode === "video") view.draw();
    look();
    clip.requestVideoFrameCallback(frame);
  }

  function control() {
    $("play").textContent = clip.paused ? "Play" : "Pause";
    $("seek").value = String(clip.duration ? (clip.currentTime / clip.duration) * STEPS : 0);
    const time = `${clip.currentTime.toFixed(1)} of ${(clip.duration || 0).toFixed(1)} s`;
    $("time").textContent = time;
    $("seek").setAttribute("aria-valuetext", time);
  }

  /** The mask of another place is no use here. */
  function drop() {
    if (state.mode !== "video") return;
    stopAsking();
    asked = { time: -1, text: "" };
    times = [];
    view.clear();
    view.draw();
  }

  /** The frame that shows now shows an object. */
  function start(prompt) {
    if (state.mode !== "video" || !state.clip) return;
    if (state.models.length && !takesPrompts()) return tell("This model does not follow what is clicked on; choose another under More.");
    const shown = grab();
    shown.catch(() => null); // whoever waits for it hears
    begin(prompt, shown);
    stopAsking(); // it goes first
    again();
  }

  async function grab() {
    const time = clip.seeking ? seen : clip.currentTime;
    const picture = await jpegOf(clip, clip.width, clip.height, `${baseName(state.clip.name)}-${time.toFixed(2)}s.jpg`);
    return { ...picture, time };
  }

  /** Asks about the frame that shows, unless that is not the time. */
  function look() {
    if (state.mode !== "video" || !state.clip || asking() || clip.seeking) return;
    const what = followed() ?? wordsQuestion();
    if (!what) return idle();
    const text = JSON.stringify(what);
    if (asked.time === clip.currentTime && asked.text === text) return;
    const began = performance.now();
    const take = ({ shown, answer }) => {
      state.frame = shown;
      state.answer = what.follow ? followedAnswer(answer) : combined(answer, null);
      happened("answered");
      showPace(performance.now() - began, what, answer, shown);
      look();
    };
    inTurn((signal) => next(what, text, signal), take, again);
  }

  /** Nothing is asked: the clip plays at its own speed. */
  function idle() {
    clip.playbackRate = 1;
    if (state.answer) {
      state.answer = null;
      happened("answered");
    }
    tell("Type a word to look for, or click on an object or drag a box around it to have it followed.");
  }

  /** The newest frame, however often a busy service is asked, and its answer. */
  async function next(what, text, signal) {
    if (what.follow) {
      const followedNext = await follow(grab, signal);
      asked = { time: followedNext.shown.time, text };
      return followedNext;
    }
    const shown = await grab();
    asked = { time: shown.time, text };
    return { shown, answer: await engine.segment(shown, what, signal) };
  }

  /** The clip plays as slowly as objects can be followed; speed, delay and time are shown. */
  function showPace(milliseconds, what, answer, shown) {
    clip.playbackRate = what.follow ? Math.min(1, Math.max(MIN_RATE, (1000 * FOLLOW_STEP) / milliseconds)) : 1;
    const late = Math.max(0, clip.currentTime - shown.time);
    const slow = clip.playbackRate < 1 ? `; the clip plays at ${clip.playbackRate.toFixed(1)} of its speed` : "";
    $("timings").textContent = speedOf(milliseconds, answer) + `; ${late.toFixed(2)} s behind` + slow;
  }

  function speedOf(milliseconds, { model, timings_ms: { total } }) {
    times = [...times, performance.now()].slice(-KEPT);
    const passed = times.at(-1) - times[0];
    const rate = passed ? ` ${((1000 * (times.length - 1)) / passed).toFixed(1)} frames a second;` : "";
    return `${model}:${rate} ${milliseconds.toFixed(0)} ms a frame, ${total.toFixed(0)} ms of them in the ${engine.remote ? "service" : "engine"}`;
  }

  function again() {
    asked = { time: -1, text: "" };
    look();
  }
}

const WHY = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser, then try again.",
  NotFoundError: "There is no camera here.",
  OverconstrainedError: "There is no camera here.",
  NotReadableError: "Another program has the camera.",
};

/** Hands pictures from the camera to `take`. Returns what opens it. */
export function cameraFor(take) {
  $("shoot").addEventListener("click", shoot);
  $("leave").addEventListener("click", () => $("booth").close());
  $("booth").addEventListener("close", release);

  return open;

  async function open() {
    $("camera").disabled = true;
    try {
      // Browsers hide it from pages that somebody on the way could have changed.
      if (!navigator.mediaDevices) return tell("The camera needs https, or a service on this computer.", true);
      const video = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
      const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
      stream.getVideoTracks()[0].addEventListener("ended", () => $("booth").close());
      $("live").srcObject = stream;
      await $("live").play();
      $("booth").showModal();
    } catch (error) {
      release();
      tell(WHY[error.name] ?? `The camera does not work: ${error.message}`, true);
    } finally {
      $("camera").disabled = false;
    }
  }

  async function shoot() {
    const shot = jpegOf($("live"), $("live").videoWidth, $("live").videoHeight, "camera.jpg");
    $("booth").close();
    await take((await shot).file);
  }

  function release() {
    for (const track of $("live").srcObject?.getTracks() ?? []) track.stop();
    $("live").srcObject = null;
  }
}

// Objects that are followed

let stream = null; // {id, model, asked} of the service: its model, and all that it was asked last
let last = 0; // number
let ended = []; // numbers, which no frame has told the service of yet
let seen = null; // the last answer's frame

window.addEventListener("pagehide", leave);

/** What the next frame is asked, or null where nothing is followed. */
function followed() {
  return state.followed.length ? { follow: state.followed.map(({ number }) => number), ...named(), ...manner() } : null;
}

/** `shown`, a picture to come, shows one more object. */
function begin(prompt, shown) {
  last += 1;
  state.followed.push({ number: last, begins: { prompt, shown }, box: null, lost: false, label: null });
  list();
}

function stop(number) {
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
function forget() {
  leave();
  [ended, seen, last] = [[], null, 0];
  state.followed = [];
  list();
}

/** The answer about the next frame, and the frame: one that shows an object goes before what `grab` gives. */
async function follow(grab, signal) {
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
function followedAnswer(answer) {
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
