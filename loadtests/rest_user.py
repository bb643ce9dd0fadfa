"""A locust user of the REST interface: one request after another, about new images and known ones."""

from __future__ import annotations

import json
import random
from typing import Any

import gevent
import httpx
from locust import FastHttpUser, task

from lexiseg_client import Segmentation
from lexiseg_client.errors import UnreadableAnswer
from lexiseg_client.rest import read, retry_after
from loadtests.checks import fault_of, fault_of_prompts
from loadtests.load import LOAD
from loadtests.scenes import Sent, Supply, shorter_side

BUSY = (429, 503)
REFUSED = "/segment, refused: busy"
EXPIRED = "/segment by id, expired"


class RestUser(FastHttpUser):
    """Sends each image once and later refers to it by its id, as the Python client does."""

    weight = 1
    network_timeout = connection_timeout = 120.0

    def on_start(self) -> None:
        """Seed the user's random numbers."""
        self._chance = random.Random(LOAD.next_seed())
        self._supply = Supply(LOAD.photographs, LOAD.repeat, self._chance)

    @task
    def ask(self) -> None:
        """Send one request: a click, or one of the class lists."""
        subject = self._supply.next()
        if self._chance.random() < LOAD.prompts:
            question = self._click(subject.content if isinstance(subject, Sent) else subject)
        else:
            classes = self._chance.choice(LOAD.class_lists)
            question = {"classes": classes, "background": self._chance.random() < 0.5}
        if isinstance(subject, Sent):
            self._post_id(subject, question)
        else:
            self._post_image(subject, question)

    def _click(self, photograph: bytes) -> dict[str, Any]:
        side = shorter_side(photograph)
        place = {"x": round(self._chance.uniform(0, side), 1), "y": round(self._chance.uniform(0, side), 1)}
        return {"prompts": [{"points": [place]}]}

    def _post_image(self, photograph: bytes, question: dict[str, Any]) -> None:
        # httpx encodes the form; locust's faster client sends it.
        form = httpx.Request("POST", "http://-", files={"image": photograph}, data={"request": json.dumps(question)})
        image_id = self._post(f"/segment, {_kind(question)}", form.read(), form.headers["content-type"], question)
        if image_id is not None:
            self._supply.answered(photograph, image_id)

    def _post_id(self, sent: Sent, question: dict[str, Any]) -> None:
        body = json.dumps({"image": {"id": sent.image_id}, **question}).encode()
        self._post(f"/segment by id, {_kind(question)}", body, "application/json", question, sent)

    def _post(
        self, name: str, body: bytes, kind: str, question: dict[str, Any], named: Sent | None = None
    ) -> str | None:
        """Send a request and check a share of the answers; returns the image's id, None without an answer."""
        headers = {"Content-Type": kind, **LOAD.headers}
        sent: Any = body  # locust's types do not allow bytes, its client does
        with self.client.post("/segment", data=sent, headers=headers, name=name, catch_response=True) as response:
            if response.status_code in BUSY:
                # A busy service should refuse at once: no failure, counted under its own name, and followed by a wait.
                response.request_meta["name"] = REFUSED
                response.success()
                pause = retry_after(response.headers.get("retry-after")) or 1.0
            elif named is not None and response.status_code == 404 and "image-expired" in (response.text or ""):
                response.request_meta["name"] = EXPIRED
                response.success()
                self._supply.forgotten(named)
                return None
            elif response.status_code != 200:
                response.failure(f"{response.status_code} {(response.text or '')[:200]}")
                return None
            else:
                return self._checked(response, question)
        gevent.sleep(pause)
        return None

    def _checked(self, response: Any, question: dict[str, Any]) -> str | None:
        """The image's id; None, and the response is a failure, if the answer cannot be read."""
        try:
            answer = read(response.content, Segmentation.from_dict)
            if self._chance.random() < LOAD.check:
                fault = _fault(answer, question)
                LOAD.checked.note(fault)
                if fault is not None:
                    response.failure(f"wrong answer: {fault}")
        except UnreadableAnswer as error:
            LOAD.checked.note(str(error))
            response.failure(f"wrong answer: {error}")
            return None
        return answer.image_id


def _kind(question: dict[str, Any]) -> str:
    """The kind of a request in its name, by which locust groups times."""
    return "a click" if "prompts" in question else f"{len(question['classes'])} classes"


def _fault(answer: Segmentation, question: dict[str, Any]) -> str | None:
    if "prompts" in question:
        return fault_of_prompts(answer, len(question["prompts"]))
    return fault_of(answer, question["classes"], covers=not question["background"])
