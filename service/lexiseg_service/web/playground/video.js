// A clip from disk plays, and the frame that shows is asked about; while that question is on its way other frames pass,
// and the next question is of the newest.

import { Problem, segment } from "/playground/api.js";
import { refuse } from "/playground/asking.js";
import { patiently } from "/playground/busy.js";
import { begin, follow, followed, forget, numbersIn, stop } from "/playground/follow.js";
import { $, happened, page, tell } from "/playground/page.js";
import { askable, question, state, takesPrompts } from "/playground/state.js";
import { turnTo } from "/playground/pictures.js";

const LARGEST = 1280; // pixels of the longer side that is sent
const FOLLOWED_STEP = 0.1; // seconds of the clip between two frames in which objects are followed
const SLOWEST = 0.1; // of the clip's own speed
const STEPS = 1000; // of the seeking bar

/** Plays clips on that view; `take` gets frames that shall be pictures. */
export function playOn(view, take) {
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
  view.addEventListener("box", ({ detail }) => start({ box: detail }));
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
  $("clip").addEventListener("change", () => {
    const [file] = $("clip").files;
    $("clip").value = ""; // the same one may be chosen again
    if (file) open(file);
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
    const less = Math.min(1, LARGEST / Math.max(clip.videoWidth, clip.videoHeight));
    clip.width = Math.round(clip.videoWidth * less);
    clip.height = Math.round(clip.videoHeight * less);
    forget();
    state.clip = { name: file.name };
    state.frame = null;
    turnTo("video");
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
    view.painted = null;
    view.numbers = [];
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

  async function look() {
    if (state.mode !== "video" || !state.clip || running || clip.seeking) return;
    const what = followed() ?? question();
    if (!askable(what)) {
      clip.playbackRate = 1;
      if (state.answer) {
        state.answer = null;
        view.numbers = [];
        happened("answered");
      }
      return tell("Type a word to look for, or click on an object or drag a box around it to have it followed.");
    }
    const text = JSON.stringify(what);
    if (asked.time === clip.currentTime && asked.text === text) return;
    const control = new AbortController();
    running = control;
    let shown = null;
    try {
      const began = performance.now();
      const answer = await patiently(async () => {
        if (what.follow) {
          const next = await follow(grab, control.signal);
          shown = next.shown;
          asked = { time: shown.time, text };
          return next.answer;
        }
        shown = await grab(); // the newest, however often a busy service is asked
        asked = { time: shown.time, text };
        return segment(shown, what, control.signal);
      }, control.signal);
      if (running !== control) return;
      state.frame = shown;
      state.answer = { ...answer, asked: what, segments: answer.segments.filter((one) => !one.mask_index) };
      view.numbers = what.follow ? numbersIn(state.answer) : [];
      happened("answered");
      const seconds = (performance.now() - began) / 1000;
      clip.playbackRate = what.follow ? Math.min(1, Math.max(SLOWEST, FOLLOWED_STEP / seconds)) : 1;
      const late = Math.max(0, clip.currentTime - shown.time);
      const slow = clip.playbackRate < 1 ? `; the clip plays at ${clip.playbackRate.toFixed(1)} of its speed` : "";
      $("timings").textContent = pace.after(performance.now() - began, answer, late) + slow;
      running = null;
      look();
    } catch (problem) {
      if (problem.name === "AbortError" || running !== control) return;
      running = null;
      clip.pause();
      if (problem instanceof Problem) refuse(problem, again);
      else throw problem;
    }
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

/** Hands pictures from the camera to `take`. */
export function cameraFor(take) {
  $("camera").addEventListener("click", open);
  $("shoot").addEventListener("click", shoot);
  $("leave").addEventListener("click", () => $("booth").close());
  $("booth").addEventListener("close", stop);

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
      stop();
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

  function stop() {
    for (const track of $("live").srcObject?.getTracks() ?? []) track.stop();
    $("live").srcObject = null;
  }
}
