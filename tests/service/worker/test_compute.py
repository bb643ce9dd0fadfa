"""The thread that owns the device."""

import threading

from tests.service.worker.engine.bench import Bench
from tests.service.worker.gated_colours import SOON, ask


def test_other_work_waits_for_the_pass_under_way_and_goes_before_the_next() -> None:
    bench = Bench()
    bench.hold()
    waiting = bench.submit(ask("red"))
    bench.until_waiting(1)
    begun, go_on = threading.Event(), threading.Event()

    def warm_up() -> None:
        begun.set()
        assert go_on.wait(SOON)

    done = bench.engine._compute.run(warm_up)
    assert not begun.is_set()
    bench.release()
    assert begun.wait(SOON)
    assert bench.segmenter.batches == [1]
    go_on.set()

    done.result(SOON)
    waiting.result(SOON)
    bench.engine.close(SOON)
