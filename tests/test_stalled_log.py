"""A log that nothing reads does not stop the program."""

import logging
import os
from collections.abc import Iterator

import pytest

from a2a_grpc.loglines.stalled import PatientHandler


@pytest.fixture
def unread() -> Iterator[tuple[logging.Logger, int]]:
    """A log that goes to a pipe, and the end of the pipe to read from."""
    reading, writing = os.pipe()
    log = logging.getLogger("a2a_grpc")
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stream:
        handler = PatientHandler(stream)
        log.addHandler(handler)
        yield log, reader.fileno()
        log.removeHandler(handler)
        handler.close()


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


def test_a_pipe_whose_reader_has_gone_fails_no_line(unread: tuple[logging.Logger, int]) -> None:
    log, reader = unread
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), reader)
    for number in range(100):
        log.warning("%d %s", number, "x" * 10_000)
    for handler in log.handlers:
        handler.flush()
