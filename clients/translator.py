"""Have a translator translate a text. If it asks for the language, answer in the same task.

Without --text the program sends two texts to servers/translator.py: one with a language, and one without.
"""

import argparse
import asyncio
import sys

from a2a_grpc import A2AError, Client, Task, TaskArtifactUpdateEvent, TaskStatusUpdateEvent, connect, text_of
from a2a_grpc.client import ConfigurationError
from a2a_grpc.lifecycle import INPUT_REQUIRED, state_name


async def translate(agent: Client, text: str, language: str) -> None:
    task_id = ""
    print(f"Sending task {text!r} to {agent.target}", flush=True)
    while text:
        async with agent.stream(text, task_id=task_id) as events:
            text = ""
            async for event in events:
                match event:
                    case Task() if not task_id:
                        task_id = event.id
                        print(f"Task created! ID: {task_id}, State: {state_name(event.status.state)}", flush=True)
                    case TaskArtifactUpdateEvent():
                        print(f"Result: {text_of(event.artifact)}", flush=True)
                    case TaskStatusUpdateEvent(status=status):
                        print(f"State: {state_name(status.state)} {text_of(status.message)}".rstrip(), flush=True)
                        if status.state == INPUT_REQUIRED:
                            text = language
                            print(f"Answering {text!r}", flush=True)


async def run(options: argparse.Namespace) -> None:
    async with connect(options.agent) as agent:
        for text in [options.text] if options.text else ["Translate 'hello' to French", "Translate 'thank you'"]:
            await translate(agent, text, options.language)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("--text", help="what to send, such as: Translate 'hello' to French")
    parser.add_argument("--language", default="French", help="what to answer when asked; default: %(default)s")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
