// A picture from the camera. The browser asks whether it may; nothing is sent before it is taken.

import { $, tell } from "/playground/page.js";

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
