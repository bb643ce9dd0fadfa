"""A real S3 server on this machine, for tests of what lies in buckets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from moto.core.base_backend import BackendDict
from moto.server import ThreadedMotoServer


@contextmanager
def bucket(name: str) -> Iterator[str]:
    """The address of an empty bucket; who looks for S3, this process or one that it starts, finds the server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        with mock.patch.dict(os.environ, found):
            import s3fs

            s3fs.S3FileSystem(skip_instance_cache=True).mkdir(name)
            yield f"s3://{name}"
    finally:
        server.stop()
        BackendDict.reset()  # the buckets lie in this process, not in the server: the next server would show them
