"""`lexiseg worker` and `lexiseg gateway` as processes, on free ports."""

from pathlib import Path

import httpx

from tests.integration.server import TO_START, Process, metric

SEEN = 60.0  # seconds until a gateway has seen a change of its workers; a tenth of it is usual


class Worker(Process):
    """Answers gateways at `address`, metrics at `url`."""

    def __init__(self, log: Path, port: int = 0, model: str = "tiny", **environment: str) -> None:
        options = ("--worker-port", str(port), "--metrics-port", "0", "--model", model)
        super().__init__(log, "worker", *options, **environment)

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[1]}"

    def metric(self, name: str) -> float:
        return metric(self.url, name)


class Gateway(Process):
    """REST at `url`, gRPC at `grpc`."""

    def __init__(self, log: Path, *workers: str, **environment: str) -> None:
        options = ("--workers", ",".join(workers), "--http-port", "0", "--grpc-port", "0")
        super().__init__(log, "gateway", *options, **environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.ports[-1]}"

    def ready_workers(self) -> int:
        """As /readyz says."""
        return int(httpx.get(f"{self.url}/readyz", timeout=SEEN).json()["detail"].split()[0])

    def wait_for_workers(self, number: int, seconds: float = TO_START) -> None:
        self.wait_until(lambda: self.ready_workers() == number, seconds)
