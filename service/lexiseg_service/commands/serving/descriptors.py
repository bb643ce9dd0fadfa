"""As many files and connections as the system lets this process have, not as few as it begins with.

What a process begins with, 1,024 as a rule, is there for programs that can count no further (select). It is less than
the connections that are let in: a crowd would leave no descriptor to whatever else opens one.
"""

from __future__ import annotations

import sys

MOST = 2**20  # where there is no bound, or one that nobody means


def take_all_descriptors() -> None:
    """Raises this process's bound to what it may be raised to."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
