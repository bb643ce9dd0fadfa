"""Names of packages, however they are written."""

import re


def canonical(requirement: str) -> str:
    """The name in a requirement, as the registry compares it (PEP 503); versions, extras and markers are left out."""
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()
