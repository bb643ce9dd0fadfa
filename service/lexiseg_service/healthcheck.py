"""Health check of containers: `python -m lexiseg_service.healthcheck PORT` exits with 0 if the service is ready."""

from __future__ import annotations

import sys
import urllib.request

SECONDS = 2.5


def main(port: str) -> int:
    """Request /readyz; any answer other than 200 means not ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        print(f"not ready: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
