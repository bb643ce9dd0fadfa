"""The calls over gRPC, which is optional: importing anything from here asks for its libraries.

Raises:
    MissingLibrary: they are not installed.
"""

from lexiseg_client.errors import MissingLibrary

try:
    import google.protobuf  # noqa: F401
    import grpc  # noqa: F401
except ImportError as error:
    raise MissingLibrary(
        f"gRPC needs libraries that are not installed ({error}): `pip install grpcio protobuf` brings them"
    ) from error
