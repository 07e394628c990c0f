"""A log that nothing reads does not stop the program."""

import logging
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from a2a_grpc.loglines.stalled import PatientHandler

PROGRAM = """
import atexit, logging, os, threading

def late():
    log.warning("late")

atexit.register(late)  # before that of `logging`, so it is called after it
from a2a_grpc.loglines import log_to_stderr

log_to_stderr()
log = logging.getLogger("a2a_grpc")
"""
FORK = """
for number in range(200):
    log.warning("number=%d %s", number, "x" * 1000)
handler, held, forked = logging.getLogger().handlers[0], threading.Event(), threading.Event()

def hold():
    with handler.lock:
        held.set()
        forked.wait()

threading.Thread(target=hold).start()
held.wait()
if child := os.fork():
    forked.set()
else:
    log.warning("number=200")
os.write(1, b"forked\\n")  # whole: `print` may write the end of the line on its own
for _ in range(60):
    handler.flush()
if child:
    os.wait()
os._exit(0)
"""


@contextmanager
def logged_to(stream: TextIO, name: str = "a2a_grpc") -> Iterator[logging.Logger]:
    log, handler = logging.getLogger(name), PatientHandler(stream)
    log.addHandler(handler)
    yield log
    log.removeHandler(handler)
    handler.close()


def program(code: str, *, shell: str = 'exec "$@"', stderr: int | None = None) -> int:
    return subprocess.run(["sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM + code], stderr=stderr).returncode


@pytest.fixture
def unread() -> Iterator[tuple[logging.Logger, int]]:
    """A log that goes to a pipe, and the end of the pipe to read from."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        with logged_to(stream) as log:
            yield log, reader.fileno()


def test_lines_wait_in_order_for_a_reader_that_has_stopped_and_what_is_too_much_is_counted(
    unread: tuple[logging.Logger, int],
) -> None:
    log, reader = unread
    for number in range(600):
        log.warning("%d %s", number, "x" * 10_000)  # 6 MB: the pipe takes 64 KiB, and 4 MiB may wait
    text = b""
    while b"left out" not in text or not text.endswith(b"\n"):
        text += os.read(reader, 1 << 20)
    *lines, last = text.decode().splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(len(lines))]
    assert {len(line.split()[1]) for line in lines} == {10_000}
    assert last == f"lines of the log were left out, because nothing read them count={600 - len(lines)}"
    log.warning("written at once, since the reader is back")
    assert os.read(reader, 1 << 20) == b"written at once, since the reader is back\n"


def test_a_line_that_cannot_be_made_is_told_in_the_log_and_not_by_logging(
    unread: tuple[logging.Logger, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`logging` would write a traceback to standard error, and wait if nothing reads it."""
    log, reader = unread
    monkeypatch.setattr(log, "propagate", False)  # the handler of pytest would raise the error
    log.warning("not a %d", "number")
    told = os.read(reader, 1 << 20).decode()
    assert told.startswith(f"a line of the log could not be made from=a2a_grpc place={__file__}:")
    assert told.count("\n") == 1
    assert capfd.readouterr().err == ""


def test_a_pipe_whose_reader_has_gone_fails_no_line(unread: tuple[logging.Logger, int]) -> None:
    log, reader = unread
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), reader)
    for number in range(100):
        log.warning("%d %s", number, "x" * 10_000)
    for handler in log.handlers:
        handler.flush()


def test_a_terminal_that_nothing_reads_gets_all_lines_later() -> None:
    terminal, writing = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream, logged_to(stream) as log:
        for number in range(200):
            log.warning("%d %s", number, "x" * 1000)
        text = b""
        while text.count(b"\n") < 200:
            text += reader.read(1 << 20)
    assert [line.split()[0] for line in text.decode().splitlines()] == [str(number) for number in range(200)]


def test_lines_that_wait_reach_their_pipe_and_no_other_file_after_all_is_closed(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as reader:
        with os.fdopen(writing, "w") as stream, logged_to(stream) as log:
            for number in range(200):
                log.warning("%d %s", number, "x" * 1000)
        with open(tmp_path / "other", "wb"):
            text = b"".join(iter(lambda: reader.read(1 << 20), b""))  # to the end: no descriptor stays open
    assert [int(line.split()[0]) for line in text.splitlines()] == list(range(200))
    assert (tmp_path / "other").read_bytes() == b""


def test_long_lines_of_two_writers_are_not_mixed_in_a_file(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def write(letter: str) -> None:
        with open(tmp_path / "log", "a") as stream, logged_to(stream, f"{__name__}.{letter}") as log:
            both.wait()
            for _ in range(300):
                log.warning(letter * 50_000)

    writers = [threading.Thread(target=write, args=[letter]) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = (tmp_path / "log").read_text().splitlines()
    assert [lines.count(letter * 50_000) for letter in "ab"] == [300, 300]


def test_a_process_that_was_forked_writes_its_own_lines_only() -> None:
    code = PROGRAM + FORK
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe, stderr=pipe, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["forked\n"] * 2  # nothing has been read until here
        numbers = [line.split("number=")[1].split()[0] for line in parent.stderr]
    assert sorted(numbers, key=int) == [str(number) for number in range(201)]


def test_a_program_ends_though_its_last_lines_find_a_full_pipe_or_standard_error_closed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing) as full:
        assert program('log.warning("x" * 7000)\n' * 20, stderr=full.fileno()) == 0
    assert program('log.warning("not written")', shell='exec "$@" 2>&-') == 0
