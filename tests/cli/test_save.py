"""`--save`: the files of artifacts, under names that cannot leave the folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc import Agent, Artifact, Part, Turn
from a2a_grpc.cli.saving import MAX_NAME_BYTES, safe_name
from tests.cli.terminal import at, run
from tests.harness import serving


def files_agent() -> Agent:
    agent = Agent("Files", "Gives files.", output_modes=["*/*"])

    @agent.skill("give")
    async def give(turn: Turn) -> list[Artifact]:
        """Give files."""
        return [
            Artifact(name="words", parts=[Part(text="only words")]),
            Artifact(
                name="chart",
                parts=[
                    Part(raw=b"png", media_type="image/png"),
                    Part(raw=b"a,b\n", filename="../../data.csv", media_type="text/csv"),
                    Part(raw=b"1,2\n", filename="../../data.csv", media_type="text/csv"),
                    Part(text="notes", filename="notes.md"),
                ],
            ),
            Artifact(name="second", parts=[Part(raw=b"other", filename="DATA.csv", media_type="text/csv")]),
            Artifact(name="bytes", parts=[Part(raw=b"x"), Part(raw=b"y")]),
        ]

    return agent


EXPECTED = {
    "chart.png": b"png",
    "data.csv": b"a,b\n1,2\n",
    "notes.md": b"notes",
    "DATA-2.csv": b"other",
    "bytes": b"xy",
}


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_the_files_of_artifacts_are_written_and_never_over_others_without_force(tmp_path: Path) -> None:
    async with serving(files_agent()) as served:
        folder = tmp_path / "in" / "here"
        done = await run("send", at(served), "go", "--save", str(folder))
        assert done.code == 0, done.err
        assert content(folder) == EXPECTED
        assert "data.csv" in done.err

        outside = tmp_path / "outside"
        outside.write_text("mine")
        (folder / "notes.md").unlink()
        (folder / "notes.md").symlink_to(outside)
        (folder / "chart.png").unlink()
        refused = await run("send", at(served), "go", "--save", str(folder))
        assert refused.code == 2
        assert "exists, so no file was written" in refused.err
        assert not (folder / "chart.png").exists()

        task_id = done.err.split("COMPLETED ")[1].split()[0]
        forced = await run("get", at(served), task_id, "--save", str(folder), "--force")
        assert forced.code == 0, forced.err
        assert content(folder) == EXPECTED
        assert outside.read_text() == "mine"
        assert not (folder / "notes.md").is_symlink()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("send", "x", "--force"), "--force is for --save"),
        (("send", "x", "--save", "d", "--no-wait"), "--save and --no-wait exclude each other"),
        (("get", "t", "--save", "d", "--no-artifacts"), "--save and --no-artifacts exclude each other"),
        (("get", "t", "--save", __file__), "is not a folder"),
    ],
)
async def test_options_that_do_not_fit_are_refused_before_anything_is_sent(options: tuple[str, ...], said: str) -> None:
    done = await run(*options, "--agent=127.0.0.1:1")
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\x1b[31mb\u202e.txt", "a_[31mb_.txt"),
        ("CON.txt", "_CON.txt"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("", "file"),
    ],
)
def test_a_name_stays_in_its_folder(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(max_size=400))
def test_any_name_is_made_safe(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert not set(safe) & set("/\\\0\n")
    assert safe not in (".", "..")
    assert not safe.startswith(".")
    assert len(safe.encode(errors="replace")) <= MAX_NAME_BYTES
