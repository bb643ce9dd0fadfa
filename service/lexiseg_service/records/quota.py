"""Limits of the records of one owner, and of all; counted in the step that adds one, so that no burst passes them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from lexiseg_service.records.store import Record
from lexiseg_service.shares import CLIENT_SHARE


class Amounts(NamedTuple):
    """What some records take, or may take."""

    unended: float = math.inf  # records that have not ended
    number: float = math.inf
    nbytes: float = math.inf


class Excess(NamedTuple):
    """A limit that a further record would pass."""

    amount: str  # a field of `Amounts`
    is_owners: bool  # of the owner of the record; else of all
    used: int  # by other records
    wanted: int  # by the further one
    limit: int


class Quota(NamedTuple):
    """Limits of a kind of records; of the unended ones an owner may have a share of what others leave.

    Records without an owner count only among all.
    """

    of_owner: Amounts
    of_all: Amounts = Amounts()
    unended_states: Collection[str] = ()

    def excess(self, rows: Sequence[Record], record: Record) -> Excess | None:
        """The first limit that a record passes when it is written next to others; None: there is room."""
        others = [row for row in rows if row.id != record.id and not row.has_expired]
        usage, own_usage = self._usage(others), self._usage([row for row in others if row.owner == record.owner])
        share = CLIENT_SHARE * (self.of_all.unended - usage.unended + own_usage.unended)
        of_owner = self.of_owner._replace(unended=min(self.of_owner.unended, max(1, share)))
        of_all = False, usage, self.of_all
        for is_owners, used, limits in ((True, own_usage, of_owner), of_all) if record.owner else (of_all,):
            amounts = zip(Amounts._fields, used, self._usage([record]), limits, strict=True)
            for amount, present, wanted, limit in amounts:
                if present + wanted > limit:
                    return Excess(amount, is_owners, int(present), int(wanted), int(limit))
        return None

    def _usage(self, rows: Sequence[Record]) -> Amounts:
        unended = sum(row.state in self.unended_states for row in rows)
        return Amounts(unended, len(rows), sum(row.nbytes for row in rows))
