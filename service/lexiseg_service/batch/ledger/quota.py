"""What the jobs of one client may take; the ledger counts and adds in one step, so that a burst passes nothing."""

from __future__ import annotations

from typing import NamedTuple

from lexiseg_service.errors import RateLimited, ServiceError, TooLarge
from lexiseg_service.settings import Settings

MAX_UNENDED = 16  # jobs of one key or address
QUOTA_SECONDS = 60


class Amounts(NamedTuple):
    """What the jobs of one client take, or may take."""

    unended: int  # jobs that have not ended
    n_jobs: int  # jobs, ended or not
    n_bytes: int  # of their questions, archives and results

    def has_room(self, limits: Amounts, n_bytes: int) -> bool:
        """Whether one more job with `n_bytes` is within limits."""
        is_within = self.unended < limits.unended and self.n_jobs < limits.n_jobs
        return is_within and self.n_bytes + n_bytes <= limits.n_bytes


def limits_of(settings: Settings) -> Amounts:
    """What the jobs of one client may take."""
    return Amounts(MAX_UNENDED, settings.jobs_per_client, settings.job_bytes_per_client)


def refusal(usage: Amounts, limits: Amounts, n_bytes: int) -> ServiceError:
    """The error for one more job with `n_bytes`, for which there is no room."""
    if n_bytes > limits.n_bytes:
        return TooLarge(
            f"question and archive have {n_bytes:,} bytes, the jobs of one client at most {limits.n_bytes:,} together "
            "(LEXISEG_JOB_BYTES_PER_CLIENT)"
        )
    if usage.unended >= limits.unended:
        detail = f"{usage.unended} jobs of this client have not ended, at most {limits.unended} may; wait for one"
    elif usage.n_jobs >= limits.n_jobs:
        detail = f"{usage.n_jobs} jobs of this client are kept, at most {limits.n_jobs} are"
    else:
        detail = (
            f"the questions, archives and results of this client's jobs have {usage.n_bytes:,} bytes and this one adds "
            f"{n_bytes:,}, at most {limits.n_bytes:,} are kept (LEXISEG_JOB_BYTES_PER_CLIENT)"
        )
    if usage.unended < limits.unended:
        detail += "; remove jobs, or wait until they expire"
    return RateLimited(detail, QUOTA_SECONDS)
