// A clip from disk plays, and the frame that shows is asked about; while that question is on its way other frames pass,
// and the next question is of the newest. Objects that a click or a box shows are followed by a stream of the service.

import { segment } from "./engine/chosen.js";
import { post, put, remove } from "./engine/server.js";
import { colourOf, css } from "./masks.js";
import { $, element, focusedElement, happened, manner, named, page, state, takesPrompts, tell, wordsQuestion } from "./page.js";
import { patiently, Problem } from "./problem.js";
import { combined, refuse } from "./question.js";

const MAX_SIDE = 1280; // pixels of the longer side that is sent
const FOLLOW_STEP = 0.1; // seconds of the clip between two frames in which objects are followed
const MIN_RATE = 0.1; // of the clip's own speed
const STEPS = 1000; // of the seeking bar

/** Plays clips on that view; `take` gets frames that become pictures, `turn` shows the tab. Returns what opens a file. */
export function playOn(view, take, turn) {
  const clip = document.createElement("video");
  clip.muted = true;
  clip.playsInline = true;
  const pace = new Pace();
  let running = null;
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
    running?.abort();
    running = null;
    asked = { time: -1, text: "" };
    pace.reset();
    if (state.mode !== "video") return;
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
    running?.abort(); // it goes first
    running = null;
    again();
  }

  async function grab() {
    const time = clip.seeking ? seen : clip.currentTime;
    const canvas = new OffscreenCanvas(clip.width, clip.height);
    canvas.getContext("2d").drawImage(clip, 0, 0, clip.width, clip.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    const name = `${state.clip.name.replace(/\.[^.]*$/, "")}-${time.toFixed(2)}s.jpg`;
    const file = new File([blob], name, { type: "image/jpeg" });
    return { file, id: null, width: canvas.width, height: canvas.height, image: canvas, time };
  }

  /** Whether there is no frame to ask about now. */
  function busy() {
    return state.mode !== "video" || !state.clip || running || clip.seeking;
  }

  async function look() {
    if (busy()) return;
    const what = followed() ?? wordsQuestion();
    if (!what) return idle();
    const text = JSON.stringify(what);
    if (asked.time === clip.currentTime && asked.text === text) return;
    const control = new AbortController();
    running = control;
    try {
      const began = performance.now();
      const { shown, answer } = await patiently(() => next(what, text, control.signal), control.signal);
      if (running !== control) return;
      state.frame = shown;
      state.answer = what.follow ? followedAnswer(answer) : combined(answer, null);
      happened("answered");
      showPace(performance.now() - began, what, answer, shown);
      running = null;
      look();
    } catch (problem) {
      if (running === control) stopAt(problem);
    }
  }

  /** An answer that does not come: the clip waits. */
  function stopAt(problem) {
    if (problem.name === "AbortError") return;
    running = null;
    clip.pause();
    refuse(problem, again);
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
    return { shown, answer: await segment(shown, what, signal) };
  }

  /** The clip plays as slowly as objects can be followed; speed, delay and time are shown. */
  function showPace(milliseconds, what, answer, shown) {
    clip.playbackRate = what.follow ? Math.min(1, Math.max(MIN_RATE, (1000 * FOLLOW_STEP) / milliseconds)) : 1;
    const late = Math.max(0, clip.currentTime - shown.time);
    const slow = clip.playbackRate < 1 ? `; the clip plays at ${clip.playbackRate.toFixed(1)} of its speed` : "";
    $("timings").textContent = pace.after(milliseconds, answer, late) + slow;
  }

  function again() {
    asked = { time: -1, text: "" };
    look();
  }
}

const KEPT = 12; // answers that a rate is of

export class Pace {
  reset() {
    this.times = [];
  }

  /** A line on the answer that took `milliseconds`, and whose frame was `late` seconds old when it came. */
  after(milliseconds, answer, late) {
    this.times = [...(this.times ?? []), performance.now()].slice(-KEPT);
    const [first, last] = [this.times[0], this.times.at(-1)];
    const rate = last > first ? ` ${((1000 * (this.times.length - 1)) / (last - first)).toFixed(1)} frames a second;` : "";
    const inside = answer.timings_ms.total.toFixed(0);
    return `${answer.model}:${rate} ${milliseconds.toFixed(0)} ms a frame, ${inside} ms of them in the service; ${late.toFixed(2)} s behind`;
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
    const { videoWidth: width, videoHeight: height } = $("live");
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").drawImage($("live"), 0, 0);
    $("booth").close();
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
    await take(new File([blob], "camera.jpg", { type: "image/jpeg" }));
  }

  function release() {
    for (const track of $("live").srcObject?.getTracks() ?? []) track.stop();
    $("live").srcObject = null;
  }
}

// Objects that are followed

let stream = null; // {id, model, asked} of the service: its model, and all that it was asked last
let last = 0; // number
let begun = []; // {number, prompt, shown}, which no frame has told the service of yet
let ended = []; // numbers, likewise
let seen = null; // {shown, boxes}: the last answer's frame, and where each object was in it

window.addEventListener("pagehide", leave);

/** What the next frame is asked, or null where nothing is followed. */
function followed() {
  return state.followed.length ? { follow: state.followed.map(({ number }) => number), ...named(), ...manner() } : null;
}

/** `shown`, a picture to come, shows one more object. */
function begin(prompt, shown) {
  last += 1;
  begun.push({ number: last, prompt, shown });
  state.followed = [...state.followed, { number: last, lost: false, label: null }];
  list();
}

function stop(number) {
  if (begun.some((one) => one.number === number)) begun = begun.filter((one) => one.number !== number);
  else ended.push(number);
  state.followed = state.followed.filter((one) => one.number !== number);
  if (!state.followed.length) forget();
  list();
  happened("changed");
}

/** All of them, as when another clip comes. */
function forget() {
  leave();
  [begun, ended, seen, last] = [[], [], null, 0];
  state.followed = [];
  list();
}

/** The answer about the next frame, and the frame: one that shows an object goes before what `grab` gives. */
async function follow(grab, signal) {
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
  const focused = focusedElement()?.dataset.object;
  $("objects").hidden = $("followed").hidden = !state.followed.length;
  $("objects").replaceChildren(...state.followed.map(line));
  if (focused) ($("objects").querySelector(`[data-object="${focused}"]`) ?? $("canvas")).focus();
}

/** An object that is followed, by the label of your words and its number. */
function titleOf({ number, label }) {
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
