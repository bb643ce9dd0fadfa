import torch

from lexiseg_service.worker.executor import stage_executor
from tests.waiting import until


def test_torch_keeps_to_the_thread_whatever_other_threads_have_set() -> None:
    before = torch.get_num_threads()
    threads = stage_executor("test", 1)
    numbers: list[int] = []
    threads.submit("x", lambda: numbers.append(0))  # its thread has not used torch yet
    until(lambda: bool(numbers))

    torch.set_num_threads(3)
    threads.submit("x", lambda: numbers.append(torch.get_num_threads()))
    until(lambda: len(numbers) == 2)
    torch.set_num_threads(before)
    threads.close()

    assert numbers[1] == 1
