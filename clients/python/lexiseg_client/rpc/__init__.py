"""The gRPC transport; its libraries are optional."""

from lexiseg_client.errors import MissingLibrary

try:
    import google.protobuf
    import google.rpc.status_pb2  # noqa: F401
    import grpc  # noqa: F401
except ImportError as error:
    raise MissingLibrary(
        f"gRPC needs libraries that are not installed ({error}): pip install grpcio protobuf googleapis-common-protos, "
        "or name the server by its http address, as http://localhost:8000"
    ) from error
