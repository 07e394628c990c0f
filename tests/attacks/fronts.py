"""What operators put before a server, with the configurations of docs/operations.md."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc.aio

from tests.attacks.rig import ROOT, Target
from tests.harness import eventually
from tests.ports import free_address
from tests.tools import find, need


def example(name: str) -> str:
    """Return a configuration of docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text()
    found = re.search(rf"<!-- {name} -->\n```\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found.group(1)


@asynccontextmanager
async def haproxy(target: Target) -> AsyncIterator[str]:
    """HAProxy before the server, with the configuration of docs/operations.md: its address."""
    need("haproxy")
    address = free_address()
    text = example("haproxy").replace("127.0.0.1:50051", target.address).replace("127.0.0.1:50060", address)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(text)
        process = await asyncio.create_subprocess_exec(find("haproxy", "haproxy"), "-db", "-f", str(file))
        try:

            async def ready() -> None:
                async with grpc.aio.insecure_channel(address) as channel:
                    try:
                        await asyncio.wait_for(channel.channel_ready(), 1.0)
                    except TimeoutError as error:
                        raise AssertionError("HAProxy does not answer") from error

            await eventually(ready)
            yield address
        finally:
            process.terminate()
            await process.wait()
