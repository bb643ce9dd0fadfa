// Plays a clip from disk or a camera and segments the visible frame: the newest one after each answer.

import { EMPTY, withWords } from "../document.js";
import * as engine from "../engine/server.js";
import { begin, follow, followed, followSummary, forget, look as track, stop } from "./following.js";
import { $, baseName, drawn, element, emit, jpegOf, page, state, takesPrompts, tell, wordsQuestion } from "../page.js";
import { add } from "../project/project.js";
import { askLatest, asking, ready, stop as stopAsking } from "../question.js";
import { view } from "../view.js";

const MIN_RATE = 0.1; // playback rate
const PAN_WIDTH = 480; // pixels; visible width of the example's photograph
const PAN_TIME = 12_000; // milliseconds per radian of the panning cosine
const WHY = {
  NotAllowedError: "The camera was refused. Allow it for this page in the browser, then try again.",
  NotFoundError: "There is no camera here.",
  NotReadableError: "Another program has the camera.",
};

const clip = element("video", { muted: true, playsInline: true });
let lastQuery = { frame: /** @type {any} */ (null), text: "" }; // the last one sent
let film = /** @type {any} */ (null); // {isStopped, resolve, reject} while the clip is exported: of the frame that is to be painted
let pace = 0; // share of its speed at which a clip is followed, as of the last frame
let still = /** @type {any} */ (null); // the visible frame while another is sought, which the clip may draw before it is visible
let visibleTime = 0; // seconds; time of the visible frame, which during a seek and shortly after "seeked" is still the previous one

for (const name of ["play", "pause", "ended", "timeupdate", "seeked"]) clip.addEventListener(name, control);
clip.addEventListener("seeking", () => film || drop());
for (const name of ["seeked", "pause"]) clip.addEventListener(name, look);
page.addEventListener("changed", again);
page.addEventListener("shown", ({ detail: { x, y, positive, box } }) => {
  if (state.mode !== "video" || !state.clip) return;
  if (!positive && !box) return tell("In a clip a click begins an object; Stop ends it.");
  // In its own line: the next answer overwrites the result line.
  if (!engine.remote) return Object.assign($("note"), { textContent: "Only a service follows objects: take this frame, and click on it there." });
  if (state.models.length && !takesPrompts()) return tell("This model does not follow what is clicked on; choose another under More.");
  const frame = shown();
  frame.catch(() => null); // reported where the frame is awaited; without this also as an unhandled rejection
  begin(box ? { box } : { points: [{ x, y }] }, frame);
  stopAsking(); // the new object takes precedence
  again();
});
page.addEventListener("undo", () => state.mode === "video" && state.followed.length && stop(state.followed.at(-1).number));
page.addEventListener("clear", () => state.mode === "video" && state.followed.length && restart());
page.addEventListener("refused", () => clip.pause());
page.addEventListener("mapped", () => isVisible(state.frame) && film?.resolve?.());
for (const name of ["refused", "turned"]) page.addEventListener(name, () => film?.reject?.());
page.addEventListener("turned", () => {
  clip.pause();
  drop();
  if (clip.srcObject && state.mode !== "video") state.clip = null; // switch the camera off when it is not shown
  if (!state.clip) close();
  if (state.mode === "video" && state.clip) view.show(clip);
});
$("play").addEventListener("click", () => (clip.paused ? clip.play() : clip.pause()));
$("seek").addEventListener("input", () => {
  still ??= drawn(clip.width, clip.height, (context) => context.drawImage(clip, 0, 0, clip.width, clip.height));
  clip.currentTime = ($("seek").value / $("seek").max) * clip.duration;
});
$("frame").addEventListener("click", async () => emit("file", (await shown()).file));
$("save-clip").addEventListener("click", save);
$("rate").addEventListener("change", control);
$("side").addEventListener("change", restart);

clip.requestVideoFrameCallback(function onFrame(now, { mediaTime }) {
  visibleTime = mediaTime;
  still = null;
  if (view.image === clip) view.draw();
  look();
  clip.requestVideoFrameCallback(onFrame);
});

export async function openClip(file) {
  if (!(await play(file, file.name))) tell(`${file.name} is not a video that this browser can play.`, true);
}

export async function openCamera() {
  if (!navigator.mediaDevices) return tell("The camera needs https, or a service on this computer.", true);
  const video = { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } };
  const refused = (error) => void tell(WHY[error.name] ?? `The camera does not work: ${error.message}`, true);
  const stream = await navigator.mediaDevices.getUserMedia({ video, audio: false }).catch(refused);
  stream?.getVideoTracks()[0].addEventListener("ended", () => {
    state.clip = null;
    emit("tab", "video");
  });
  if (stream && !(await play(stream, "camera")) && clip.srcObject === stream) tell("The camera shows no picture.", true);
}

/** Plays a camera that pans over a photograph, until closed; returns whether it plays. */
export async function openExample(photograph) {
  const image = await createImageBitmap(photograph);
  const context = element("canvas", { width: PAN_WIDTH, height: image.height }).getContext("2d");
  const stream = context.canvas.captureStream();
  const draw = (now) => {
    context.drawImage(image, ((Math.cos(now / PAN_TIME) - 1) / 2) * (image.width - PAN_WIDTH), 0);
    if (stream.active) requestAnimationFrame(draw);
  };
  draw(0);
  return play(stream, "example");
}

async function play(source, name) {
  close();
  if (source instanceof MediaStream) clip.srcObject = source;
  else clip.src = URL.createObjectURL(source);
  const plays = await new Promise((resolve) => {
    clip.onloadeddata = () => resolve(true);
    clip.onerror = () => resolve(false);
    if (clip.srcObject) clip.play().catch(clip.onerror); // a stream has no data before
  });
  if (!plays) return false;
  resize();
  state.clip = { name };
  state.frame = null;
  emit("tab", "video");
  control();
  await clip.play().catch(() => null); // where the browser blocks autoplay, the visitor uses the button
  return true;
}

/** Sets the size at which frames are sent: even sides, as films have. */
function resize() {
  const less = Math.min(1, $("side").value / Math.max(clip.videoWidth, clip.videoHeight));
  [clip.width, clip.height] = [clip.videoWidth, clip.videoHeight].map((side) => 2 * Math.round((side * less) / 2));
}

function close() {
  forget();
  clip.srcObject?.getTracks().forEach((track) => track.stop());
  clip.srcObject = null;
  URL.revokeObjectURL(clip.src);
  clip.removeAttribute("src");
}

function control() {
  $("play").textContent = clip.paused ? "Play" : "Pause";
  $("player").classList.toggle("live", Boolean(clip.srcObject));
  $("seek").value = String(clip.duration ? (clip.currentTime / clip.duration) * $("seek").max : 0);
  const time = clip.srcObject ? "live" : `${clip.currentTime.toFixed(1)} of ${(clip.duration || 0).toFixed(1)} s`;
  $("time").textContent = time;
  $("seek").setAttribute("aria-valuetext", time);
  const speed = pace ? `about ${pace.toFixed(1)}` : "0.3 to 0.4 (on two cores)";
  $("pace").textContent = engine.remote ? `A followed clip plays at ${speed} of its speed. A lower size or rate makes it faster.` : "";
}

function restart() {
  forget(); // its objects are in pixels of the old size
  resize();
  drop();
  look();
}

/** Shows the frame at a time; resolves when its masks are painted. */
function painted(time) {
  lastQuery = { frame: null, text: "" };
  clip.currentTime = time;
  return new Promise((resolve, reject) => Object.assign(film, { resolve, reject }));
}

/** Exports the clip with its masks, from here on if objects are followed; pressed again, ends it here. */
async function save() {
  if (film) return (film.isStopped = true);
  if (!followed() && !wordsQuestion()) return idle();
  const from = state.followed.length ? clip.currentTime : 0;
  if (from >= clip.duration) return tell("The clip is at its end. Go to where the export is to begin.", true);
  clip.pause();
  film = { isStopped: false };
  $("save-clip").textContent = "Stop the export";
  const { record } = await import("./film.js");
  await record(film, { size: [clip.width, clip.height], rate: Number($("rate").value), from, to: clip.duration }, painted).catch(() => null);
  film = null;
  $("save-clip").textContent = "Export clip";
}

function drop() {
  if (state.mode !== "video") return;
  stopAsking();
  lastQuery = { frame: null, text: "" };
  view.image = clip;
  view.clear();
}

/** The visible frame: the segmented one, or the clip's current one. */
const shown = async () => (view.image === clip ? grab(still) : state.frame);

const isVisible = (frame) => frame?.time === clip.currentTime && frame.visibleTime === visibleTime;

async function grab(seen = null) {
  const at = { time: seen ? visibleTime : clip.currentTime, visibleTime };
  return { ...(await jpegOf(seen ?? clip, clip.width, clip.height, `${baseName(state.clip.name)}-${at.time.toFixed(2)}s.jpg`)), ...at };
}

/** Segments the visible frame, unless a request is running, the clip is seeking, or nothing has changed. */
function look() {
  if (state.mode !== "video" || !state.clip || asking() || clip.seeking) return;
  const [objects, words] = [followed(), wordsQuestion()];
  if (!objects && !words) return idle();
  const text = JSON.stringify([objects, words]);
  if (isVisible(lastQuery.frame) && lastQuery.text === text) return;
  const began = performance.now();
  const act = async (signal) => {
    const { frame, answer: cut } = objects ? await follow(grab, objects, signal) : { frame: await grab(), answer: null }; // again for each retry
    lastQuery = { frame, text };
    const isTracked = engine.remote && words && !objects && !words.refine && words.task !== "everything"; // the stream follows one or the other
    const answer = (isTracked && (await track(frame, words, signal))) || (words && (await engine.segment(frame, words, signal, () => null)));
    return { frame, cut, answer };
  };
  const take = ({ frame, cut, answer }) => {
    lastQuery = { frame, text };
    state.frame = frame;
    const parts = [...(answer ? [ready(answer)] : []), ...(cut ? [ready(cut, "prompt")] : [])];
    state.answer = { ...parts[0], segments: parts.flatMap(({ segments }) => segments), followed: cut && followSummary() };
    emit("answered");
    if ($("record").checked) {
      const segments = state.answer.segments.filter(({ task }) => task === "prompt");
      const { file, image, width, height } = frame;
      Object.assign(add({ file, image, width, height, id: null }), { doc: withWords({ ...EMPTY, segments }, words, answer, answer ?? cut) });
    }
    const spent = performance.now() - began;
    pace = Math.min(1, Math.max(MIN_RATE, 1000 / ($("rate").value * spent))); // slow enough for tracking to keep up
    clip.playbackRate = objects ? pace : 1;
    control();
    const late = Math.max(0, clip.currentTime - frame.time);
    $("timings").textContent = `${state.answer.model}: ${(1000 / spent).toFixed(1)} frames a second, ${spent.toFixed(0)} ms each, ${late.toFixed(2)} s behind`;
    look();
  };
  askLatest(act, take, again);
}

function idle() {
  clip.playbackRate = 1;
  if (state.answer) {
    view.image = clip;
    state.answer = null;
    emit("answered");
  }
  tell(engine.remote ? "Type a word to look for, or click on an object or drag a box around it to have it followed." : "Type a word to look for.");
}

function again() {
  lastQuery = { frame: null, text: "" };
  look();
}

