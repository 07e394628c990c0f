"""Prints an agent's text as it arrives."""

import argparse
import sys
import uuid

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub


def run(options: argparse.Namespace) -> None:
    message = a2a.Message(message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, parts=[a2a.Part(text=options.subject)])
    with grpc.insecure_channel(options.agent) as channel:
        stub = A2AServiceStub(channel)
        stream = stub.SendStreamingMessage(a2a.SendMessageRequest(message=message), metadata=(("a2a-version", "1.0"),))
        for event in stream:
            if event.WhichOneof("payload") == "artifact_update":
                print("".join(part.text for part in event.artifact_update.artifact.parts), end="", flush=True)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("subject", nargs="?", default="a lighthouse", help="default: %(default)s")
    options = parser.parse_args()
    try:
        run(options)
    except grpc.RpcError as error:
        sys.exit(f"Error: {options.agent}: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
