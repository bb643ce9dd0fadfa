"""Clips that a browser plays, of pictures drawn or shown one after the other."""

import io
from collections.abc import Iterable

import av
import numpy as np
from PIL import Image
from playwright.sync_api import Page

# The frame at which the clip stands has been asked about, and answered.
ANSWERED = "!clip.seeking && state.answer !== null && state.frame.time === clip.currentTime"


def webm(frames: Iterable[Image.Image], size: tuple[int, int], rate: int) -> bytes:
    """A file of RGB pictures of `size` (width, height), `rate` a second."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx", rate=rate, options={"deadline": "realtime", "cpu-used": "8"})
        stream.codec_context.thread_count = 1  # several wait for one another by spinning: forty times the work
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 1_500_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def know_clip(page: Page) -> None:
    """What is played next, which is no part of the document, is `window.clip`; what the page knows, `window.state`."""
    page.evaluate(
        """async () => {
            window.state = (await import(new URL("playground/page.js", location.href).href)).state;
            const { play } = HTMLMediaElement.prototype;
            HTMLMediaElement.prototype.play = function () {
                window.clip = this;
                return play.call(this);
            };
        }"""
    )
