from dataclasses import dataclass
from typing import Any

from lexiseg_service.fleet.remote import choose, ranked


@dataclass(frozen=True)
class Worker:
    address: str
    load: int = 0
    room: int = 64


def fleet(number: int) -> list[Any]:
    return [Worker(f"10.0.0.{host}:50061") for host in range(number)]


KEYS = [f"tiny|{number:032x}" for number in range(2000)]


def test_every_gateway_ranks_alike_whatever_the_order_it_knows_workers_in() -> None:
    workers = fleet(5)

    assert all(ranked(workers, key) == ranked(workers[::-1], key) for key in KEYS)


def test_a_worker_that_goes_moves_no_image_but_its_own() -> None:
    workers = fleet(5)
    gone = workers[2]

    for key in KEYS:
        before, after = (
            choose(ranked(workers, key)),
            choose(ranked([worker for worker in workers if worker != gone], key)),
        )
        assert after == before or before == gone
