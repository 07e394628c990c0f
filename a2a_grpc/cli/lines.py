"""The lines that a user types: with editing and a history at a terminal, as they are from a pipe."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

from a2a_grpc.config import ConfigurationError
from a2a_grpc.private import locked, write_private
from a2a_grpc.regular import read_regular

HISTORY_LINES = 1000
"""The lines that are kept."""


def history_path() -> Path:
    """Return the path of the file with the history, in the user's folder for the state of programs.

    Raises:
        RuntimeError: The user has no home folder.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(given):
        given = os.environ.get("LOCALAPPDATA", "") if sys.platform == "win32" else ""
    return (Path(given) if given else Path.home() / ".local" / "state") / "a2a-grpc" / "chat_history"


class Lines:
    """Reads one line after the other. Use it as a context manager.

    Guarantees:

    - At a terminal, lines are edited with readline, and those given to `remember` are found again in later runs. Only
      this user can read the file. A history that cannot be read or written is reported, and does no other harm.
    - Without a terminal there is no prompt and no history, and nothing but the lines is read.

    Args:
        words: The words that the Tab key completes at the beginning of a line.
        file_word: The word after which the Tab key completes the paths of files.
        report: A function that gets a sentence about a history that cannot be used.
    """

    def __init__(self, words: Sequence[str], file_word: str, report: Callable[[str], None]) -> None:
        self._words = words
        self._file_word = file_word
        self._report = report
        self._readline: ModuleType | None = None
        self._new: list[str] = []
        self.is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
        """True if a person reads the prompt and types the lines."""

    def __enter__(self) -> Self:
        if self.is_terminal:
            try:
                import readline  # Windows has none
            except ImportError:
                return self
            self._readline = readline
            self._begin(readline)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._readline is None or not self._new:
            return
        try:
            path = history_path()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with locked(path):
                write_private(path, "".join(f"{line}\n" for line in [*_kept(path), *self._new][-HISTORY_LINES:]))
        except OSError as failure:
            self._report(f"the history could not be kept in {path}: {failure.strerror}")
        except RuntimeError as failure:
            self._report(f"the history could not be kept: {failure}")

    def read(self, prompt: str) -> str | None:
        """Return the next line, without its end; None after the last one.

        The event loop stands still meanwhile.

        Raises:
            KeyboardInterrupt: The user has pressed Ctrl-C.
            ConfigurationError: Standard input is closed or cannot be read, or the line is no text.
        """
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return input(prompt) if self.is_terminal else _next_line()
        except EOFError:
            return None
        except UnicodeDecodeError as error:
            raise ConfigurationError(
                f"the line is not text in {error.encoding}, the encoding of the terminal"
            ) from None
        finally:
            signal.signal(signal.SIGINT, before)

    def remember(self, line: str) -> None:
        """Add a line to the history. What is not text in it becomes '?'."""
        line = line.replace("\n", " ").encode(errors="replace").decode()
        if self._readline is not None and line not in self._new[-1:]:
            self._readline.add_history(line)
            self._new.append(line)

    def _begin(self, readline: ModuleType) -> None:
        readline.set_auto_history(False)
        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t\n")
        is_libedit = "libedit" in (readline.__doc__ or "")
        readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")
        try:
            for line in _kept(history_path()):
                readline.add_history(line)
        except OSError as failure:
            self._report(f"the history in {history_path()} cannot be read: {failure.strerror}")
        except RuntimeError:
            return  # the end of the conversation reports it, if there is something to keep

    def _complete(self, word: str, number: int) -> str | None:
        """Return a completion of the word before the cursor, as readline asks for them one after the other."""
        assert self._readline is not None
        line = self._readline.get_line_buffer()
        if line.startswith(f"{self._file_word} "):
            found = _paths(word)
        else:
            found = [f"{name} " for name in self._words if line == word and name.startswith(word)]
        return found[number] if number < len(found) else None


def _paths(begun: str) -> list[str]:
    """Return the paths that begin like this. Those of folders end with a slash."""
    try:
        path = Path(begun).expanduser()
        folder = path if begun.endswith(("/", os.sep)) or not begun else path.parent
        found = sorted(folder.iterdir())
    except (OSError, RuntimeError, ValueError):  # no folder, no home folder, no name of a file
        return []
    start = str(folder / "") if folder != Path() else ""
    wanted = str(path) if not (begun.endswith(("/", os.sep)) or not begun) else start
    return [f"{item}{'/' if item.is_dir() else ' '}" for item in found if str(item).startswith(wanted)]


def _kept(path: Path) -> list[str]:
    try:
        return read_regular(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _next_line() -> str:
    """Return the next line of standard input. Raise EOFError after the last one."""
    if sys.stdin is None:  # Python sets it to None if the descriptor is closed
        raise ConfigurationError("standard input is closed; give messages, one on each line")
    try:
        line = sys.stdin.buffer.readline().decode()
    except UnicodeDecodeError:
        raise ConfigurationError("standard input is not text in UTF-8; send a file with /file PATH") from None
    except OSError as error:
        raise ConfigurationError(f"standard input cannot be read: {error.strerror}") from None
    if not line:
        raise EOFError
    return line.rstrip("\r\n")
