"""The line of agent code that an error comes from, also if the error was found after that line."""

import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from a2a_grpc.loglines.facts import NOTHING

E = TypeVar("E", bound=BaseException)

OURS = str(Path(__file__).parent.parent)
"""The folder of this package."""


def frame_of(called: object) -> FrameType | None:
    """Return the frame of a coroutine or of an async generator that has not ended, None if there is none.

    Once the coroutine has ended, its frame still tells the line that it ended at.
    """
    frame = getattr(called, "cr_frame", None) or getattr(called, "ag_frame", None)
    return frame if isinstance(frame, FrameType) else None


def blamed(error: E, frame: FrameType | None) -> E:
    """Return the error as if the line that the frame is at had raised it: that line returned or yielded what the error
    is about."""
    if frame is None:
        return error
    return error.with_traceback(TracebackType(None, frame, frame.f_lasti, frame.f_lineno))


def line_of(error: BaseException) -> str:
    """Return the handler's line in an error's traceback, as `FILE:LINE in FUNCTION`; "-" if it is not there."""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(OURS):
            return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
    return NOTHING
