"""Files of 1, 5, 20 and 100 MB, in and out, with the flags that docs/files.md names for each size."""

import re
import shlex
from collections.abc import AsyncIterator
from typing import Any

import pytest

from a2a_grpc import Agent, Turn, connect
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.parts import files_of, text_of
from a2a_grpc.wire import Part, Task
from tests.covers import covers
from tests.harness import ROOT, serving

pytestmark = pytest.mark.usefixtures("any_way")

PAGE = (ROOT / "docs" / "files.md").read_text()
ROWS = {
    int(size): (server, client)
    for size, server, client in re.findall(r"^\| (\d+) MB \| (.*?) ?\| (.*?) ?\|$", PAGE, re.MULTILINE)
}
MB = 1_000_000


def settings_of(flags: str) -> dict[str, Any]:
    """The settings of a cell such as `--max-receive-bytes 1024`."""
    words = shlex.split(flags.strip("`"))
    return {
        flag.removeprefix("--").replace("-", "_"): int(value)
        for flag, value in zip(words[::2], words[1::2], strict=True)
    }


def content(megabytes: int) -> bytes:
    return bytes(range(250)) * (megabytes * MB // 250)


def files_agent() -> Agent:
    agent = Agent("Files", "Takes files and gives them back.", input_modes=["*/*"], output_modes=["*/*"])

    @agent.skill()
    async def back(turn: Turn) -> Part:
        """Return the file that came."""
        return Part(raw=turn.message.parts[0].raw, filename="copy.bin", media_type="application/octet-stream")

    @agent.skill()
    async def pieces(turn: Turn) -> AsyncIterator[bytes]:
        """Return a file of so many megabytes, in chunks."""
        whole = content(int(turn.text))
        for start in range(0, len(whole), 3 * MB):
            yield whole[start : start + 3 * MB]

    @agent.skill()
    async def at_once(turn: Turn) -> bytes:
        """Return a file of so many megabytes, in one piece."""
        return content(int(turn.text))

    return agent


@pytest.mark.direct
def test_the_page_has_a_row_for_each_size() -> None:
    assert sorted(ROWS) == [1, 5, 20, 100]


@covers("VAL-6")
@pytest.mark.parametrize("megabytes", [1, 5, 20, pytest.param(100, marks=pytest.mark.long)])
async def test_a_file_goes_in_and_comes_out_with_the_flags_of_its_row(megabytes: int) -> None:
    server, client_flags = map(settings_of, ROWS[megabytes])
    sent = content(megabytes)
    async with serving(files_agent(), **server) as served:
        async with connect(served.server.grpc_address, **client_flags) as client:
            task = await client.send([Part(raw=sent, filename="in.bin")], metadata={"skill": "back"})
            assert isinstance(task, Task)
            assert task.status.state == COMPLETED, text_of(task)
            assert [part.raw == sent for part in files_of(task)] == [True]
            again = await client.get(task.id)
            assert files_of(again)[0].raw == sent
            assert again.history[0].parts[0].raw == sent
            assert len((await client.get(task.id, artifacts=False)).artifacts) == 0


@pytest.mark.parametrize("megabytes", [5, 20])
async def test_a_file_in_chunks_comes_out_without_any_flag(megabytes: int) -> None:
    async with serving(files_agent()) as served, connect(served.server.grpc_address) as client:
        task = await client.send(str(megabytes), metadata={"skill": "pieces"})
        assert isinstance(task, Task)
        assert task.status.state == COMPLETED
        assert b"".join(part.raw for part in files_of(task.artifacts[0])) == content(megabytes)


async def test_a_file_that_is_too_large_for_an_event_fails_the_task_with_the_flag_and_the_way_out() -> None:
    async with serving(files_agent()) as served, connect(served.server.grpc_address) as client:
        task = await client.send("5", metadata={"skill": "at_once"})
        assert isinstance(task, Task)
        assert task.status.state == FAILED
        assert re.search(r"--max-event-bytes\); give the content in chunks, or as a part with a url", text_of(task))
