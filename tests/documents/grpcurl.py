"""As much of grpcurl as the documents use: one unary call of `Segment`, the request as JSON, - @ is standard input.

python -m tests.documents.grpcurl -plaintext -d JSON|@ HOST:PORT lexiseg.v1.Segmentation/Segment
"""

import argparse
import sys

import grpc
from google.protobuf import json_format

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_client.stubs.segmentation_pb2_grpc import SegmentationStub


def main() -> None:
    parser = argparse.ArgumentParser("grpcurl", allow_abbrev=False)
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-d", dest="message", required=True)
    parser.add_argument("target")
    parser.add_argument("method", choices=["lexiseg.v1.Segmentation/Segment"])
    asked = parser.parse_args()
    message = sys.stdin.read() if asked.message == "@" else asked.message
    with grpc.insecure_channel(asked.target) as channel:
        answer = SegmentationStub(channel).Segment(json_format.Parse(message, pb.SegmentRequest()), timeout=120)
    sys.stdout.write(json_format.MessageToJson(answer))


if __name__ == "__main__":
    main()
