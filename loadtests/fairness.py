"""`python -m loadtests.fairness`: the effect of hostile clients on the latency of a modest one.

    python -m loadtests.fairness --seconds 15 --attack texts --attack large

Starts a service with an API key for each client, and times a modest client alone and during each attack, whose load
comes from a process of its own. Exits with 1 if the modest client waits longer than allowed, if any client gets 504, or
if a health probe is answered late.

texts      two keys, each with requests of 2,048 classes x 8 synonyms that no cache has seen
large      24 clients of two keys with 20 megapixels x 150 classes, against 24 clients of a third key with thumbnails
mixed      as large, but all clients have one key: only the image size distinguishes them
crowd      a key with 96 clients against another with one
overload   four times (--times) as many requests as the service can answer, of two keys
prompts    two keys with 12 clients each: photographs with 256 prompts of 32 points each
expensive  two keys with 6 clients each: instances, confidence and overlay of 20 megapixels; polygons of 256 prompts
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lexiseg_service.gateway.admission.key_file import line_of, new_key
from loadtests.attackers import OK, TOO_LATE, Load, ResponseLog, ask_once, late_probes, measured
from loadtests.hostile import SHAPES, Pictures
from loadtests.plain_client import WithSerial
from loadtests.run import service, until_ready

KEYS = ("modest", "hostile-1", "hostile-2")
MAX_SLOWDOWN = 30.0  # a modest client's p99 in an attack over its median alone
MAX_P99_MS = 2_000.0  # of a modest client in an attack
CLIENTS = {"prompts": 12, "expensive": 6}  # of each key
WARM_UP_REQUESTS = 4  # at least the number of requests of one shape
CLIENTS_AT_FULL_LOAD = 16


class Scene:
    """A service under attack, and its clients."""

    def __init__(self, url: str, keys: dict[str, str], seconds: float, times: float) -> None:
        self._times = times
        self._url = url
        self._keys = keys
        self._seconds = seconds
        self._pictures = Pictures()

    def run(self, name: str) -> tuple[dict[str, Any], list[str]]:
        """Run one attack; returns its figures and the faults."""
        picture, n_clients = {"large": ("thumbnail", 24), "mixed": ("thumbnail", 24)}.get(name, ("photograph", 1))
        clients: list[Iterable[bytes]]
        clients = [self._requests("modest", (getattr(self._pictures, picture), 20)) for _ in range(n_clients)]
        if name == "overload":  # both keys are attackers
            clients = []
        for client in clients[:1]:  # warms up caches of words and tile shapes
            measured(self._url, [client], 1.0, None)
        alone = measured(self._url, clients, min(self._seconds, 6.0), None)["modest"] if clients else ResponseLog()
        if name in SHAPES:  # fills the text cache: only the shape of the requests shall be expensive
            asyncio.run(ask_once(self._url, self._shaped(KEYS[1], name), WARM_UP_REQUESTS))
        load = self._attack(name)
        during = measured(self._url, clients, self._seconds, load)
        p99, median = during["modest"].milliseconds(0.99), alone.milliseconds(0.5)
        ratio = round(p99 / median, 2) if p99 and median else None
        figures = {
            "attack": name,
            **({"alone": alone.figures()} if clients else {}),
            **{who: log.figures() for who, log in during.items() if log.responses},
            "modest_p99_to_alone_p50": ratio,
        }
        faults = {
            f"a modest client's p99 is {ratio} times its median alone": ratio is not None and ratio > MAX_SLOWDOWN,
            f"a modest client's p99 is {p99} ms": p99 is not None and p99 > MAX_P99_MS,
            "a modest client got no answer": bool(clients) and ratio is None,
            "504": any(log.count(TOO_LATE) for log in during.values()),
            **late_probes(during["probes"], during["bystander"]),
        }
        return figures, [f"{name}: {fault}" for fault, is_so in faults.items() if is_so]

    def _attack(self, name: str) -> Load:
        photograph, large = self._pictures.photograph, self._pictures.large
        both, one = ("hostile-1", "hostile-2"), ("hostile-1",)
        clients: Sequence[Iterable[bytes]]
        match name:
            case "texts":
                clients = [tuple(self._pictures.long_list(self._keys[who]) for _ in range(4)) for who in both]
            case "large" | "mixed":
                names = both if name == "large" else ("modest",)
                clients = [self._requests(who, (large, 150)) for _, who in zip(range(24), itertools.cycle(names))]
            case "crowd":
                clients = [self._requests(one[0], (photograph, 20)) for _ in range(96)]
            case "overload":
                return self._overload(both)
            case _:
                clients = [self._shaped(who, name) for _ in range(CLIENTS[name]) for who in both]
        return Load(self._url, tuple(clients), self._seconds + 1.0)

    def _overload(self, names: Sequence[str]) -> Load:
        """An open loop with images of every size, at a multiple of the throughput that a closed loop reaches."""
        full = measured(self._url, self._mixed(CLIENTS_AT_FULL_LOAD, names), 6.0, None)["modest"]
        rate = self._times * full.count(OK) / 6.0
        return Load(self._url, tuple(self._mixed(len(names), names)), self._seconds + 1.0, rate)

    def _mixed(self, count: int, names: Sequence[str]) -> list[WithSerial]:
        """Clients with images of every size, their keys in round robin."""
        sizes = ((self._pictures.photograph, 20), (self._pictures.large, 150), (self._pictures.thumbnail, 5))
        return [
            self._requests(who, *sizes[n % 3 :], *sizes[: n % 3])
            for n, who in zip(range(count), itertools.cycle(names))
        ]

    def _shaped(self, who: str, name: str) -> WithSerial:
        """Requests of a shape with somebody's key."""
        return WithSerial(*self._pictures.shaped(name, self._keys[who]))

    def _requests(self, who: str, *sizes: tuple[bytes, int]) -> WithSerial:
        """Requests with somebody's key, each about an image and with a number of classes."""
        return WithSerial(*(self._pictures.marked(*size, self._keys[who]) for size in sizes))


ATTACKS = ("texts", "large", "mixed", "crowd", "overload", *SHAPES)


def main(words: list[str]) -> int:
    """Run the attacks, print their figures and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each attack")
    parser.add_argument("--times", type=float, default=4.0, help="of overload: multiple of the throughput")
    parser.add_argument("--attack", action="append", choices=ATTACKS, help="repeat it [default: all]")
    options = parser.parse_args(words)
    faults: list[str] = []
    for name in options.attack or ATTACKS:
        keys = {who: new_key() for who in KEYS}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "keys"
            file.write_text("\n".join(line_of(who, key) for who, key in keys.items()) + "\n", encoding="utf-8")
            with service("--api-keys-file", str(file)) as (url, _):
                until_ready(url)
                figures, wrong = Scene(url, keys, options.seconds, options.times).run(name)
        print(json.dumps(figures), flush=True)
        faults += wrong
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
