"""Progress that an agent reports: a bar at a terminal, a line each elsewhere."""

import asyncio
import re
from typing import Any

from a2a_grpc import Turn
from tests.agent.agents import Gate, agent_of
from tests.cli.terminal import at, objects, plain, run, running, script
from tests.harness import Served, serving


def progress(part: float, name: str = "reading", **members: Any) -> dict[str, Any]:
    return {"artifact": {"id": "p", "name": name, "data": {"progress": part, **members}}}


async def test_progress_is_a_line_each_on_standard_error_where_there_is_no_terminal(served: Served) -> None:
    steps = script(progress(0), progress(0.125), progress(0.5, pages=4), progress(1), {"artifact": {"text": "done"}})
    done = await run("stream", at(served), "-d", steps)
    assert (done.code, done.out) == (0, "done\n")
    assert [line for line in done.err.splitlines() if line.endswith("%")] == [
        "reading 0%",
        "reading 12%",
        "reading 50%",
        "reading 100%",
    ]


async def test_progress_is_a_bar_at_a_terminal_that_is_gone_in_the_end() -> None:
    gate = Gate()

    async def work(turn: Turn) -> None:
        await turn.artifact({"progress": 0.5}, id="p", name="reading")
        await gate.passed()
        await turn.artifact({"progress": 1}, id="p", name="writing")

    async with serving(agent_of(work)) as served:
        async with running("stream", at(served), "go", terminal=True) as streaming:
            shown = plain(await streaming.out.until(lambda text: "50%" in plain(text)))
            assert re.search(r"reading ━+╺━+ +50%", shown)
            gate.opened.set()
            done = await streaming.finished()
    assert done.code == 0
    *_, last = [line for line in done.out.split("\r\n") if line]
    assert last.endswith("\x1b[2K"), "the bar is wiped away"
    assert done.out.rindex("\x1b[?25h") > done.out.rindex("\x1b[?25l"), "the cursor is there again"
    assert "COMPLETED" in plain(done.out)


async def test_the_bar_wipes_no_text_away(served: Served) -> None:
    """A bar is drawn over the line that the cursor is in."""
    steps = script({"chunks": {"count": 2}}, progress(0.5), {"chunks": {"id": "b", "count": 2, "text": "more {i} "}})
    done = await run("stream", at(served), "-d", steps, terminal=True)
    assert done.code == 0
    screen = on_screen(done.out)
    assert [line.strip() for line in screen if line.startswith(("chunk", "more"))] == [
        "chunk 0 chunk 1",
        "more 0 more 1",
    ]


def on_screen(written: str) -> list[str]:
    """The lines that a terminal shows in the end: enough of one for what is written here."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif move := re.fullmatch(r"\x1b\[(\d+)A", piece):
            row = max(0, row - int(move[1]))
        elif not piece.startswith("\x1b"):
            line = lines[row].ljust(column)
            lines[row] = line[:column] + piece + line[column + len(piece) :]
            column += len(piece)
    return lines


async def test_text_goes_to_standard_output_while_the_bar_is_at_the_terminal(served: Served) -> None:
    """`a2a-grpc stream … > story.txt`: the story is in the file."""
    steps = script(
        progress(0.25), {"chunks": {"count": 3}}, progress(0.5), {"artifact": {"id": "e", "text": "the end"}}
    )
    done = await run("stream", at(served), "-d", steps, terminal="err")
    assert (done.code, done.out) == (0, "chunk 0 chunk 1 chunk 2 \nthe end\n")
    assert "chunk" not in plain(done.err)


async def test_text_is_printed_as_it_comes_while_a_bar_is_shown() -> None:
    gate = Gate()

    async def work(turn: Turn) -> None:
        await turn.artifact({"progress": 0.5}, id="p", name="reading")
        await turn.artifact("the first, ", id="a")
        await gate.passed()
        await turn.artifact("the last", id="a", append=True, last_chunk=True)

    async with serving(agent_of(work)) as served:
        async with running("stream", at(served), "go", terminal=True) as streaming:
            assert "the last" not in plain(await streaming.out.until("the first, "))
            gate.opened.set()
            done = await streaming.finished()
    assert done.code == 0
    assert "the first, the last" in [line.strip() for line in on_screen(done.out)]


async def test_a_name_of_brackets_is_shown_as_it_is(served: Served) -> None:
    name = "[/] [bold]x[/bold]"
    shown, piped = await asyncio.gather(
        run("stream", at(served), "-d", script(progress(0.5, name), {"sleep": 0.3}), terminal=True),
        run("stream", at(served), "-d", script(progress(0.5, name))),
    )
    assert (shown.code, piped.code) == (0, 0), shown.out
    assert name in plain(shown.out)
    assert f"{name} 50%\n" in piped.err


async def test_what_is_no_part_of_a_whole_is_data(served: Served) -> None:
    done = await run(
        "stream", at(served), "-d", script(progress(1.5), progress(-0.1), {"artifact": {"data": {"progress": "half"}}},
                                           {"artifact": {"data": {"progress": True}}})
    )  # fmt: skip
    assert done.code == 0
    assert objects(done.out) == [{"progress": 1.5}, {"progress": -0.1}, {"progress": "half"}, {"progress": True}]
    assert "%" not in done.err
