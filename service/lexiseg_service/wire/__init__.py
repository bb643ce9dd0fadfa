"""Protobuf messages of proto/lexiseg/v1 to requests and answers and back; gRPC servers, options and credentials."""
