"""Open folders and object stores by URL through fsspec, and write to them atomically."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from lexiseg_model.errors import OptionError

BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}  # no folders: makedirs would create a bucket
UNFINISHED = ".new"  # suffix of an unfinished file
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")  # numbers in a URL
INSTALLED_BY = {"s3": "pip install s3fs", "s3a": "pip install s3fs", "gs": "pip install gcsfs"}


def open_store(url: str) -> tuple[Any, str]:
    """The file system of a local path or fsspec URL, and the path in it without a trailing slash."""
    protocol = protocol_of(url)
    try:
        # No listings cache: entries go stale, and listings of millions of objects would fill the memory.
        store, root = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        hint = INSTALLED_BY.get(protocol, str(error))
        raise OptionError(f"{url}: the package for {protocol}:// is not installed; {hint}") from None
    except ValueError as error:
        raise OptionError(f"{url}: {error}") from None
    return store, root.rstrip("/")


def connect_store(url: str) -> tuple[Any, str]:
    """`open_store`, and test the connection. Raises OSError: the store refuses access."""
    store, root = open_store(url)
    try:
        store.exists(root)
    except OSError:
        raise
    except Exception as error:  # each store's library raises its own errors
        raise OptionError(f"{url}: cannot be reached: {type(error).__name__}: {error}") from error
    return store, root


def protocol_of(url: str) -> str:
    """The protocol of a URL, such as `s3`; `file` for a path."""
    return url.partition("://")[0] if "://" in url else "file"


def numbered(url: str) -> Iterator[str]:
    """Yield the URLs that `{000..123}` in a URL stands for; numbers keep their width."""
    if (match := RANGE.search(url)) is None:
        yield url
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from numbered(f"{url[: match.start()]}{number:0{len(first)}}{url[match.end() :]}")


def absolute(url: str) -> str:
    """The URL, or a path made absolute, without a trailing slash."""
    return url.rstrip("/") if "://" in url else os.path.abspath(url)


def is_bucket(store: Any) -> bool:
    """Whether the store is an object store: atomic objects, no folders."""
    protocols = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return bool(BUCKETS & set(protocols))


def write_whole(store: Any, path: str, content: bytes) -> None:
    """Write a file or object atomically; files are written under another name and renamed."""
    if isinstance(store, LocalFileSystem):
        fresh = Path(path).with_name(f"{uuid.uuid4().hex}{UNFINISHED}")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        os.replace(fresh, path)
    elif is_bucket(store):
        store.pipe_file(path, content)
    else:
        folder = path.rpartition("/")[0]
        fresh_path = f"{folder}/{uuid.uuid4().hex}{UNFINISHED}"
        store.makedirs(folder, exist_ok=True)
        store.pipe_file(fresh_path, content)
        store.mv(fresh_path, path)
