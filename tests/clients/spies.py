"""httpx clients that note what they send, on real connections."""

from dataclasses import dataclass, field

import httpx


@dataclass
class Spy:
    """Requests as (method, path, kind of body), in order."""

    seen: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, request: httpx.Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0]
        self.seen.append((request.method, request.url.path, kind))

    def http(self) -> httpx.Client:
        return httpx.Client(event_hooks={"request": [self.note]})


UPLOAD = ("POST", "/v1/segment", "multipart/form-data")
BY_ID = ("POST", "/v1/segment", "application/json")
