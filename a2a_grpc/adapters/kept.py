"""Keeping the state of a framework with a task, without the files that the history of the task has already."""

import base64
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence

from a2a_grpc.agent import Turn
from a2a_grpc.harmless import one_line
from a2a_grpc.ids import new_id
from a2a_grpc.offload import offload

logger = logging.getLogger("a2a_grpc.adapters")

MIN_FILE_BYTES = 1024
"""The size from which a file of the user is left out. A smaller one could be a part of another value by chance."""
ENCODINGS: tuple[Callable[[bytes], bytes], ...] = (base64.b64encode, base64.urlsafe_b64encode)
"""How frameworks write bytes in JSON."""


async def keep(turn: Turn, name: str, state: str) -> bool:
    """Keep the state of a framework with the task of a turn, compressed. Return False if it is too large.

    Args:
        turn: The turn.
        name: The name of the state. A state that has this name already is replaced.
        state: The state as JSON.
    """
    try:
        await turn.remember(name, await offload(len(state), _packed, state, _files(turn)))
    except ValueError as error:
        log_not_kept(turn, error)
        return False
    return True


async def kept(turn: Turn, name: str) -> str | None:
    """Return the state that `keep` has stored for the task of a turn, or None if there is none."""
    stored = await turn.recall(name)
    if not isinstance(stored, bytes):
        return None
    files = _files(turn)
    return await offload(len(stored) + sum(map(len, files)), _unpacked, stored, files)


def log_not_kept(turn: Turn, error: Exception) -> None:
    """Log why the state of a framework is not kept."""
    logger.warning(
        "state of an agent not kept task=%s error=%s", turn.task.id if turn.task else "", one_line(str(error))
    )


def _files(turn: Turn) -> list[bytes]:
    """Return the files of the history. Later turns have the same files first.

    Files of artifacts are not among them, because an artifact can be replaced.
    """
    return [part.raw for message in turn.history for part in message.parts if len(part.raw) >= MIN_FILE_BYTES]


def _packed(state: str, files: Sequence[bytes]) -> bytes:
    """Return a state without the files, compressed. It begins with a mark that cannot be guessed.

    So no text of a user stands for a file.
    """
    mark = new_id()
    for instead, file in _written(files, mark):
        state = state.replace(file, instead)
    return zlib.compress(f"{mark}\n{state}".encode(), level=1)


def _unpacked(stored: bytes, files: Sequence[bytes]) -> str:
    """Return the state that `_packed` has packed."""
    mark, _, state = zlib.decompress(stored).decode().partition("\n")
    for instead, file in _written(files, mark):
        state = state.replace(instead, file)
    return state


def _written(files: Sequence[bytes], mark: str) -> Iterator[tuple[str, str]]:
    """Give the files as they stand in JSON, each after the text that stands for it."""
    for place, raw in enumerate(files):
        for number, encode in enumerate(ENCODINGS):
            yield f"{mark}/{place}/{number}/", encode(raw).decode()
