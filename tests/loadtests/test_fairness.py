"""The report of attacks, and the process that probes are compared with."""

from __future__ import annotations

import asyncio

from loadtests.attackers import Seen, late_probes
from loadtests.bystander import bystander
from loadtests.plain_client import Answered, Connection, got


def seen(*seconds: float) -> Seen:
    return Seen([Answered(200, each) for each in seconds])


def test_probes_are_late_by_what_an_idle_process_does_not_take() -> None:
    (in_time,) = late_probes(seen(0.25), seen(0.2)).values()
    (late,) = late_probes(seen(0.25), seen(0.1)).values()

    assert not in_time
    assert late


async def test_a_bystander_answers() -> None:
    with bystander() as url:
        async with asyncio.timeout(30), Connection(url) as connection:
            answers = [await connection.ask(got("/livez")) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
