"""`python -m loadtests.chaos.edits`: what questions, jobs and streams name is edited while they run.

    python -m loadtests.chaos.edits --seconds 600

The deployment and the faults of `loadtests.chaos`, honest clients, and one that edits its vocabulary and its head,
again and again: each answer, all pictures of a job and all frames of a stream are of one edition. Exits with 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import httpx

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from loadtests.chaos.__main__ import inject_faults
from loadtests.chaos.deployment import Deployment
from loadtests.chaos.honest import Honest
from loadtests.chaos.judge import BUSY, Judge
from loadtests.hostile import Pictures
from loadtests.plain_client import Response

NAME = "edited"
EDITIONS = (["sky", "building", "tree"], ["building", "tree", "sky"])
BOXES = ([0, 0, 20, 20], [10, 10, 40, 40])  # of a picture that teaches, by edition
PAUSE = 1.0  # seconds between two edits, and after a refusal
PICTURES, FRAMES = 6, 4
MAX_SECONDS = 120.0  # seconds for one answer


class Editor:
    """Vocabularies and heads of one API key, with what names them."""

    def __init__(self, url: str, key: str, judge: Judge) -> None:
        self._client = httpx.AsyncClient(base_url=f"{url}/v1", headers={"X-API-Key": key}, timeout=MAX_SECONDS)
        self._judge = judge
        self._photograph = base64.b64encode(Pictures().thumbnail).decode()
        self._known: dict[str, list[Any]] = {"vocabulary": [], "head": []}
        self._versions: list[str] = []
        self.clients = (self.edit, self.ask, self.run_jobs, self.watch)  # each until a time of the event loop's clock

    async def learn(self) -> None:
        """Keep the answers of each edition of an undisturbed service.

        Raises:
            RuntimeError: a request is refused.
        """
        for edition in range(len(EDITIONS)):
            head = await self._put(edition)
            answers = [await self._ask("vocabulary", NAME), await self._ask("head", f"{NAME}@{head['version']}")]
            if None in answers:
                raise RuntimeError(f"refused without any fault: {self._judge.counts}")
            self._versions.append(head["version"])
            for kind, answer in zip(self._known, answers, strict=True):
                self._known[kind].append(answer)

    async def edit(self, until: float) -> None:
        """Change the vocabulary and the head, again and again."""
        for edition in itertools.cycle(range(len(EDITIONS))):
            if asyncio.get_running_loop().time() >= until:
                return
            await self._put(edition)
            await asyncio.sleep(PAUSE)

    async def ask(self, until: float) -> None:
        """Ask with the vocabulary, of either edition, and with each version of the head."""
        for number in itertools.cycle(range(len(EDITIONS))):
            if asyncio.get_running_loop().time() >= until:
                return
            self._compare("vocabulary", [await self._ask("vocabulary", NAME)], self._known["vocabulary"])
            answer = await self._ask("head", f"{NAME}@{self._versions[number]}")
            self._compare("head", [answer], [self._known["head"][number]])

    async def run_jobs(self, until: float) -> None:
        """Have one job after the other done: all of its pictures are of one edition."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            for number in range(PICTURES):
                file.writestr(f"{number}.jpg", base64.b64decode(self._photograph))
        for kind in itertools.cycle(self._known):
            if asyncio.get_running_loop().time() >= until:
                return
            form = {"request": json.dumps({"question": _question(kind, NAME)})}
            files = {"archive": ("pictures.zip", archive.getvalue())}
            job = await self._send("jobs", "POST", "/jobs", data=form, files=files)
            while job and job["state"] != "done":
                await asyncio.sleep(PAUSE)
                job = await self._send("jobs", "GET", f"/jobs/{job['id']}")
            lines = job and await self._send("jobs", "GET", f"/jobs/{job['id']}/results", params={"to": "jsonl"})
            answers = [_lasting(line["answer"]) for line in lines or () if line["answer"]]
            self._compare("jobs", answers, self._known[kind])

    async def watch(self, until: float) -> None:
        """Send frames to one stream after the other: each keeps the words of its beginning."""
        while asyncio.get_running_loop().time() < until:
            stream = await self._send("streams", "POST", "/streams", json=_question("vocabulary", NAME))
            places = []
            for _ in range(FRAMES if stream else 0):
                frame = {"image": {"base64": self._photograph}}
                answer = await self._send("streams", "POST", f"/streams/{stream['stream']}/frames", json=frame)
                if not answer:
                    break  # a refusal may be the end of the stream
                places.append({each["label"]: each["class_index"] for each in answer["segments"]})
            editions = [{name: place for place, name in enumerate(words)} for words in EDITIONS]
            right = [words for words in editions if all(words.items() >= each.items() for each in places)]
            self._compare("streams", right[:1] if places else [], editions)
            if places and not right:
                self._judge.surprise("edited, streams", f"frames of two editions: {places}")

    async def _put(self, edition: int) -> Any:
        vocabulary = {"classes": EDITIONS[edition], "background": False}
        await self._send("edits", "PUT", f"/vocabularies/{NAME}", json=vocabulary)
        objects = [{"class": "gizmo", "box": BOXES[edition]}]
        picture = {"key": "one", "image": {"base64": self._photograph}, "objects": objects}
        return await self._send("edits", "PUT", f"/heads/{NAME}", json={"classes": ["gizmo"], "pictures": [picture]})

    async def _ask(self, kind: str, name: str) -> Any:
        question = {"image": {"base64": self._photograph}, **_question(kind, name)}
        return _lasting(await self._send(kind, "POST", "/segment", json=question))

    async def _send(self, who: str, method: str, path: str, **content: Any) -> Any:
        """The JSON of an answer; None if it was refused."""
        answer = await self._client.request(method, path, **content)
        if answer.is_success:
            is_lines = "jsonl" in str(answer.url)
            return [json.loads(line) for line in answer.text.splitlines()] if is_lines else answer.json()
        self._judge.rest(f"edited, {who}", Response(answer.status_code, answer.content), may=BUSY)
        await asyncio.sleep(PAUSE)
        return None

    def _compare(self, who: str, answers: list[Any], editions: list[Any]) -> None:
        """Count answers, which are all of one of the editions; refused ones were counted."""
        answers = [answer for answer in answers if answer is not None]
        if any(all(answer == edition for answer in answers) for edition in editions):
            for _ in answers:
                self._judge.count(f"edited, {who}", "right")
        else:
            self._judge.surprise(f"edited, {who}", f"answers of no edition, or of two: {str(answers)[:600]}")


def _question(kind: str, name: str) -> dict[str, Any]:
    return {kind: name, "background": False}


def _lasting(answer: Any) -> Any:
    """The segments of an answer."""
    return answer and answer["segments"]


async def play(deployment: Deployment, keys: dict[str, str], seconds: float, judge: Judge) -> None:
    """Run all clients and faults."""
    honest = Honest(deployment.url, deployment.grpc, keys["honest"], judge)
    editor = Editor(deployment.url, keys["editor"], judge)
    await honest.learn()
    await editor.learn()
    until = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as group:
        for client in (honest.ask, honest.call, honest.watch, *editor.clients):
            group.create_task(client(until))
        group.create_task(inject_faults(deployment, until, judge))


def main(words: list[str]) -> int:
    """Run everything, print the counts and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    seconds = parser.parse_args(words).seconds
    judge, keys = Judge(), {who: new_key() for who in ("honest", "editor")}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name, "keys")
        file.write_text("\n".join(line_of(who, key) for who, key in keys.items()) + "\n", encoding="utf-8")
        with Deployment(Path(name), file) as deployment:
            asyncio.run(play(deployment, keys, seconds, judge))
        for process, log in deployment.logs().items():
            if "Traceback" in log:
                judge.surprise(process, f"a traceback: {log[log.index('Traceback') :][:2000]}")
    print(json.dumps({who: dict(counts) for who, counts in sorted(judge.counts.items())}), flush=True)
    print(*judge.surprises, sep="\n", file=sys.stderr)
    answered = all(judge.right(f"edited, {what}") for what in ("vocabulary", "head", "jobs", "streams"))
    return 0 if answered and not judge.surprises else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
