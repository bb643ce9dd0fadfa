// Exports a clip with its masks: a film, its frames, COCO with track ids, and label maps.

import { filesOf, pictureOf, save } from "../project/export.js";
import { zip } from "../formats/zip.js";
import { baseName, element, state, tell } from "../page.js";
import { view } from "../view.js";

const KINDS = ["video/mp4;codecs=avc1.42E01F", "video/mp4", "video/webm"]; // the first that this browser writes
const BITS = 4; // of the film a second, for each pixel
const WANTED = /^(images|annotations|label-maps)\//;

// The recorder pauses while the next frame is asked about: their times are true.
/** Records frames at `rate` a second until `film.isStopped`; `painted(time)` shows one with its masks. */
export async function record(film, { size: [width, height], rate, from, to }, painted) {
  const context = element("canvas", { width, height }).getContext("2d");
  const stream = context.canvas.captureStream(0);
  const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS * width * height });
  const [parts, frames] = [[], []];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();
  recorder.pause();
  const total = Math.ceil((to - from) * rate);
  for (let recorded = 0; frames.length < total && !film.isStopped; ) {
    await painted(from + frames.length / rate);
    view.paint(context, state.frame.image, width, height);
    frames.push(pictureOf(state.frame, state.answer));
    recorder.resume();
    const began = performance.now();
    /** @type {any} */ (stream.getVideoTracks()[0]).requestFrame();
    await new Promise((ended) => setTimeout(ended, (1000 * frames.length) / rate - recorded));
    recorder.pause();
    recorded += performance.now() - began;
    tell(`Frame ${frames.length} of ${total} is painted.`);
  }
  recorder.stop();
  await new Promise((ended) => (recorder.onstop = ended));
  const kind = /mp4/.test(mimeType) ? "mp4" : "webm";
  const files = [...filesOf(frames)].filter(([path]) => WANTED.test(path));
  const base = baseName(state.clip.name);
  save(await zip([[`${base}.${kind}`, () => new Blob(parts)], ...files]), `${base}.zip`);
  tell(`Saved ${frames.length} frames: the film${kind === "mp4" ? "" : " (WebM: this browser writes no MP4)"}, COCO with track ids, and label maps.`);
}
