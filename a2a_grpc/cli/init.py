"""`a2a-grpc init`, which writes the files of a new agent."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from a2a_grpc.cli.exits import ExitCode, say_error, say_failure
from a2a_grpc.cli.project import FILES, Kind, files_of, named_after
from a2a_grpc.cli.saving import write_file
from a2a_grpc.config import ConfigurationError

MAX_NAME, MAX_DESCRIPTION = 80, 300
"""The largest numbers of characters."""
DESCRIPTION = "Answers messages."

T = TypeVar("T")


def init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Folder for the files, which is made if needed.", show_default=False),
    ] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", envvar="", metavar="TEXT", help="Name of the agent.", show_default=False)
    ] = None,
    description: Annotated[
        str | None,
        typer.Option("--description", envvar="", metavar="TEXT", help="What the agent does.", show_default=False),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            "--kind",
            envvar="",
            help="'plain' returns a result, 'streaming' sends it in pieces, 'asking' asks the user first.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", envvar="", help="Ask nothing, and use defaults.")] = False,
    force: Annotated[bool, typer.Option("--force", envvar="", help="Replace files that exist.")] = False,
) -> None:
    """Write a new agent, with a client, a test and a pyproject.toml. They work as they are.

    At a terminal the command asks for the name, for what the agent does, and for its kind, unless options give them.
    Without a terminal it uses defaults. No file that exists is replaced without --force.
    """
    asks = not yes and sys.stdin is not None and sys.stdin.isatty()
    try:
        own = named_after(_resolved(folder).name)
        _check_free(folder, force=force)
        name, description = _given(name, _name), _given(description, _description)
        if name is None:
            name = _ask("Name of the agent", own, _name) if asks else own
        if description is None:
            description = _ask("What it does", DESCRIPTION, _description) if asks else DESCRIPTION
        if kind is None:
            kind = _ask(f"Kind ({', '.join(Kind)})", Kind.PLAIN, _kind) if asks else Kind.PLAIN
        _write(folder, files_of(name, description, kind), force=force)
    except ConfigurationError as error:
        say_error(error)
        raise typer.Exit(ExitCode.USAGE) from None
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)  # noqa: T201
        say_failure("the questions were not answered, so nothing was written", "--yes asks nothing")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    _say_what_next(folder)


def _resolved(folder: Path) -> Path:
    """Return the whole path of a folder. Raise ConfigurationError if there can be no such folder."""
    try:
        found = folder.resolve()
        found.exists()  # this raises OSError if the name is too long
        return found
    except (OSError, RuntimeError) as error:  # RuntimeError for links that lead to each other
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"cannot use the folder '{folder}': {reason}") from error


def _check_free(folder: Path, *, force: bool) -> None:
    """Raise ConfigurationError if the folder is a file, or if files exist that may not be replaced."""
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"'{folder}' is not a folder")
    there = [] if force else [str(folder / file) for file in FILES if os.path.lexists(folder / file)]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        raise ConfigurationError(
            f"{', '.join(there)} {verb}, so nothing was written; name another folder, or give --force"
        )


def _write(folder: Path, files: dict[str, str], *, force: bool) -> None:
    _check_free(folder, force=force)  # once more, since the questions took their time
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            write_file(folder / file, [text.encode()])
    except OSError as error:
        raise ConfigurationError(f"cannot write '{error.filename or folder}': {error.strerror}") from error


def _given(text: str | None, check: Callable[[str], str]) -> str | None:
    return None if text is None else check(text)


def _ask(question: str, default: str, check: Callable[[str], T]) -> T:
    """Ask a person until the answer is a valid one. An empty answer is the default."""
    while True:
        try:
            return check(input(f"{question} [{default}]: ").strip() or default)
        except ConfigurationError as error:
            say_error(error)


def _name(text: str) -> str:
    return _one_line("name", text, MAX_NAME)


def _description(text: str) -> str:
    return _one_line("description", text, MAX_DESCRIPTION)


def _one_line(option: str, text: str, limit: int) -> str:
    """Return a text without the space around it. Raise ConfigurationError unless it is one line, not too long."""
    text = text.strip()
    if not text:
        raise ConfigurationError(f"--{option} is empty")
    if not text.isprintable():
        raise ConfigurationError(f"--{option} is {text!r}; it must be one line, without control characters")
    if len(text) > limit:
        raise ConfigurationError(f"--{option} has {len(text)} characters; at most {limit} are allowed")
    return text


def _kind(text: str) -> Kind:
    found = [kind for kind in Kind if kind.startswith(text.lower())]
    if len(found) != 1:
        raise ConfigurationError(f"--kind is '{text}'; it must be one of {', '.join(Kind)}")
    return found[0]


def _say_what_next(folder: Path) -> None:
    steps: Iterable[str] = (
        *(["cd " + shlex.quote(str(folder))] if folder != Path() else []),
        "pip install pytest && python -m pytest",
        "a2a-grpc serve agent.py",
        "python client.py hello        # in a second terminal, or: a2a-grpc chat",
    )
    wrote = ", ".join(FILES)
    lines = [f"Wrote {wrote}. Next:", *(f"  {step}" for step in steps)]
    print("\n".join(lines), flush=True)  # noqa: T201
