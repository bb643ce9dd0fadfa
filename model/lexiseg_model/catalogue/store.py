"""Folders and stores by address: what fsspec reaches, written to in whole pieces."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from lexiseg_model.errors import OptionError

BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs"}  # have no folders; to make one would make a bucket
UNFINISHED = ".new"  # ends the name of a file that is not whole yet
INSTALLED_BY = {"s3": "pip install s3fs", "s3a": "pip install s3fs", "gs": "pip install gcsfs"}


def open_store(url: str) -> tuple[Any, str]:
    """The file system of an address, and the place in it, without a slash at the end.

    Args:
        url: a folder or a file here, or an address that fsspec knows, as s3://bucket/models.

    Raises:
        OptionError: nothing that is installed reaches it, or it is no address.
    """
    protocol = protocol_of(url)
    try:
        # A store of its own: what others of this process listed before may have changed. What it lists it forgets:
        # a bucket of millions would fill the memory.
        store, root = url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        hint = INSTALLED_BY.get(protocol, str(error))
        raise OptionError(f"{url}: what reaches {protocol}:// is not installed; {hint}") from None
    except ValueError as error:
        raise OptionError(f"{url}: {error}") from None
    return store, root.rstrip("/")


def reached(url: str) -> tuple[Any, str]:
    """As `open_store`, once the store has answered.

    Raises:
        OptionError: nothing that is installed reaches it, or it is no address, or what reaches it cannot: there are no
            credentials, or no server.
        OSError: the store refuses.
    """
    store, root = open_store(url)
    try:
        store.exists(root)
    except OSError:
        raise
    except Exception as error:  # of the store's library, which has errors of its own
        raise OptionError(f"{url}: cannot be reached: {type(error).__name__}: {error}") from error
    return store, root


def protocol_of(url: str) -> str:
    """As `s3`; `file` of a path."""
    return url.partition("://")[0] if "://" in url else "file"


def absolute(url: str) -> str:
    """The same place for a process in another folder; of a path alone, without a slash at the end."""
    return url.rstrip("/") if "://" in url else os.path.abspath(url)


def is_bucket(store: Any) -> bool:
    """Whether a store has whole objects only, and no folders to make."""
    protocols = (store.protocol,) if isinstance(store.protocol, str) else store.protocol
    return bool(BUCKETS & set(protocols))


def write_whole(store: Any, path: str, content: bytes) -> None:
    """In one piece: a store's objects are, a file is under another name until it is whole."""
    if isinstance(store, LocalFileSystem):
        fresh = Path(f"{path}.{uuid.uuid4().hex}{UNFINISHED}")
        fresh.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        os.replace(fresh, path)
    elif is_bucket(store):
        store.pipe_file(path, content)
    else:
        fresh_path = f"{path}.{uuid.uuid4().hex}{UNFINISHED}"
        store.makedirs(path.rpartition("/")[0], exist_ok=True)
        store.pipe_file(fresh_path, content)
        store.mv(fresh_path, path)
