"""Has a translator translate; where it asks for the language, answers on the same task.

Without --text it shows both: a request that says everything, and one that the agent has to ask about.
"""

import argparse
import asyncio
import sys
import uuid

import grpc
from a2a_grpc_pb import a2a_pb2 as a2a
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub

METADATA = (("a2a-version", "1.0"),)


def text_of(parts) -> str:
    return "".join(part.text for part in parts)


def state_of(status: a2a.TaskStatus) -> str:
    return a2a.TaskState.Name(status.state).removeprefix("TASK_STATE_")


async def translate(stub: A2AServiceStub, agent: str, text: str, language: str) -> None:
    task_id = ""
    print(f"Sending task {text!r} to {agent}")
    while text:
        message = a2a.Message(
            message_id=str(uuid.uuid4()), role=a2a.ROLE_USER, task_id=task_id, parts=[a2a.Part(text=text)]
        )
        text = ""
        async for event in stub.SendStreamingMessage(a2a.SendMessageRequest(message=message), metadata=METADATA):
            match event.WhichOneof("payload"):
                case "task" if not task_id:
                    task_id = event.task.id
                    print(f"Task created! ID: {task_id}, State: {state_of(event.task.status)}")
                case "artifact_update":
                    print(f"Result: {text_of(event.artifact_update.artifact.parts)}")
                case "status_update":
                    status = event.status_update.status
                    print(f"State: {state_of(status)} {text_of(status.message.parts)}".rstrip())
                    if status.state == a2a.TASK_STATE_INPUT_REQUIRED:
                        text = language
                        print(f"Answering {text!r}")


async def run(options: argparse.Namespace) -> None:
    async with grpc.aio.insecure_channel(options.agent) as channel:
        stub = A2AServiceStub(channel)
        for text in [options.text] if options.text else ["Translate 'hello' to French", "Translate 'thank you'"]:
            await translate(stub, options.agent, text, options.language)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--text", help="what to send, such as: Translate 'hello' to French")
    parser.add_argument("--language", default="French", help="what to answer when asked; default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except grpc.aio.AioRpcError as error:
        sys.exit(f"Error: {options.agent}: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
