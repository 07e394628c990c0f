"""Limits of the system that are too small, and numbers of workers that are too large: said at once, in one line."""

import asyncio
import errno
from pathlib import Path

import pytest

from a2a_grpc.shortage import shortage
from tests.harness import run_program

LIMITED = "import resource, sys; resource.setrlimit(resource.{}, ({}, {})); from a2a_grpc.cli import main; main()"
FREE = ("--listen=127.0.0.1:0", "--http-listen=off")


async def test_too_small_limits_and_too_many_workers_are_refused_at_the_start(tmp_path: Path) -> None:
    serve = ("serve", "--echo", f"--store=sqlite:///{tmp_path}/tasks.db", *FREE)
    ended = await asyncio.gather(
        run_program("-c", LIMITED.format("RLIMIT_AS", 240 << 20, 240 << 20), *serve),
        run_program("-c", LIMITED.format("RLIMIT_NOFILE", 48, 48), *serve),
        run_program("-m", "a2a_grpc", *serve, "--workers=100000"),
    )
    assert [(code, out) for code, out, _ in ended] == [(2, "")] * 3
    memory, files, workers = (err.splitlines()[-1] for _, _, err in ended)
    assert memory.startswith("Error: this process may have 240 MiB of virtual memory; a server needs at least 256: ")
    assert files.startswith("Error: this process may open 48 files; a server needs at least 64, ")
    assert "workers" in workers
    assert "4096" in workers
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "no memory is left"),
        (OSError(errno.EMFILE, "Too many open files"), "files that this process may open are open"),
        (ExceptionGroup("", [RuntimeError("can't start new thread"), MemoryError()]), "no thread can be started"),
        (ExceptionGroup("", [ValueError(), RuntimeError("can't start new thread")]), ""),
        (ImportError("x.so: failed to map segment from shared object"), ""),  # no limit: it may not be executable
        (OSError(errno.ENOENT, "No such file"), ""),
        (RuntimeError("another"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_errors_of_a_short_system_are_told_from_others(error: Exception, said: str) -> None:
    assert said in shortage(error) if said else not shortage(error)
