"""Conditional requests on what clients keep under a name: `If-Match` and `If-None-Match`, by RFC 9110, section 13."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lexiseg_service.errors import PreconditionFailed

TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True)
class Preconditions:
    """The values of `If-Match` and `If-None-Match`, None where not sent."""

    if_match: str | None = None
    if_none_match: str | None = None

    def check(self, current: str | None) -> None:
        """Check a write on a resource with the tag `current`; None: there is none."""
        if self.if_match is not None and not _matches(self.if_match, current, weak=False):
            current_state = f"its tag is {current}" if current else "there is none"
            raise PreconditionFailed(f"If-Match: {self.if_match[:80]} does not hold; {current_state}")
        if self.if_none_match is not None and _matches(self.if_none_match, current, weak=True):
            raise PreconditionFailed(f"If-None-Match: {self.if_none_match[:80]} does not hold; it exists")

    def unchanged(self, current: str) -> bool:
        """Whether a reader already has the resource with the tag `current`."""
        return self.if_none_match is not None and _matches(self.if_none_match, current, weak=True)


UNCONDITIONAL = Preconditions()


def _matches(header: str, current: str | None, *, weak: bool) -> bool:
    if current is None:
        return False
    if header.strip() == "*":
        return True
    return any(tag == current and (weak or not is_weak) for is_weak, tag in TAG.findall(header))
