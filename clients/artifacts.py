"""Send a file, and receive texts, data, files and links. servers/scripted.py is the agent.

Files are saved under --output-dir. The agent chooses their names. The client uses only the last part of a name, after a
number. So no file is written to another folder, and no file replaces another one.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from a2a_grpc import A2AError, Client, Part, Task, connect
from a2a_grpc.client import ConfigurationError
from a2a_grpc.parts import Contents, Json, file_part, to_python

JOB: Json = {
    "script": [
        {"artifact": {"name": "summary", "text": "Two rows, one picture."}},
        {"artifact": {"name": "table", "data": [{"city": "Brest", "lights": 3}, {"city": "Cork", "lights": 2}]}},
        {"artifact": {"name": "picture", "raw_base64": "R0lGODlhAQABAAAAACwAAAAAAQABAAA="}},
        {"artifact": {"name": "source", "url": "https://example.com/lights.csv"}},
    ]
}


class Inbox:
    """Prints artifacts, and saves their files."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.files = folder, 0

    async def fetch(self, agent: Client, content: Contents) -> None:
        reply = await agent.send(content)
        if not isinstance(reply, Task) or not reply.artifacts:
            raise A2AError(f"the agent at {agent.target} made no artifact; is it servers/scripted.py?")
        for artifact in reply.artifacts:
            print(f"artifact '{artifact.name}'")
            for part in artifact.parts:
                print(f"  {self.take(part)}", flush=True)

    def take(self, part: Part) -> str:
        match part.WhichOneof("content"):
            case "text":
                return f"text: {part.text}"
            case "data":
                return f"data: {json.dumps(to_python(part.data), sort_keys=True)}"
            case "url":
                return f"link: {part.url}"
        self.files, name = self.files + 1, f"{self.files + 1}-{Path(part.filename).name or 'unnamed'}"
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(part.raw)
        return f"file: {name}, {part.media_type or 'unknown type'}, {len(part.raw)} bytes"


async def run(options: argparse.Namespace) -> None:
    inbox, sent = Inbox(options.output_dir), file_part(options.file)
    async with connect(options.agent) as agent:
        await inbox.fetch(agent, JOB)
        print(f"Sending {sent.filename}, {sent.media_type}, {len(sent.raw)} bytes", flush=True)
        await inbox.fetch(agent, ["Here is a file.", sent, {"rows": 2}])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agent", default="127.0.0.1:50051", metavar="TARGET", help="default: %(default)s")
    parser.add_argument("--file", default=__file__, help="what to send; default: this program")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="where to save files; default: only list them")
    options = parser.parse_args()
    try:
        asyncio.run(run(options))
    except (A2AError, ConfigurationError, OSError) as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
