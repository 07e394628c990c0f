"""Write the files of artifacts into a folder, under names that are safe."""

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from a2a_grpc.cli.show import Show
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.wire import Artifact, Part, Task

PANEL = "Files"
SaveOption = Annotated[
    Path | None,
    typer.Option(
        "--save", metavar="DIR", help="Write the files of the artifacts into this folder.", rich_help_panel=PANEL
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", envvar="", help="Let --save replace files that exist.", rich_help_panel=PANEL)
]

MAX_NAME_BYTES = 200
"""The longest name. Most file systems take 255 bytes."""
UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]')
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
"""Names that Windows gives to devices."""
ANY_BYTES = "application/octet-stream"


class File(NamedTuple):
    """A file of an artifact."""

    name: str
    pieces: list[bytes]


def check(folder: Path | None, *, force: bool) -> None:
    """Raise ConfigurationError if nothing can be saved into the folder. Call this before anything is sent."""
    if folder is None:
        if force:
            raise ConfigurationError("--force is for --save; without it, it has no effect")
        return
    try:
        is_other = folder.exists() and not folder.is_dir()
    except OSError as error:  # for example because the name is too long
        raise ConfigurationError(f"--save '{folder}': {error.strerror}") from error
    if is_other:
        raise ConfigurationError(f"--save is '{folder}', which is not a folder")


def save(task: Task, folder: Path, show: Show, *, force: bool) -> None:
    """Write the files of a task's artifacts. Say where each one is.

    Raises:
        ConfigurationError: A file exists, and `force` is False; then nothing is written. Or a file cannot be written.
    """
    files = list(_named(_files(task.artifacts)))
    there = [name for name, _ in files if os.path.lexists(folder / name)]
    if there and not force:
        raise ConfigurationError(
            f"'{folder / there[0]}' exists, so no file was written; give --force, or another folder. "
            f"The task '{one_line(task.id)}' has ended; 'a2a-grpc get' saves its files later"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, pieces in files:
            size = write_file(folder / name, pieces)
            show.note(f"saved {folder / name} ({size:,} bytes)")
    except OSError as error:
        raise ConfigurationError(f"--save '{folder}': {error.filename or ''} {error.strerror}") from error
    if not files:
        show.note("there was no file to save; texts are printed, and the files of url parts are not fetched")


def write_file(path: Path, pieces: list[bytes]) -> int:
    """Write a file as a whole. A link in its place is replaced, not followed. Return the size."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.writelines(pieces)
            size = file.tell()
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size


def _files(artifacts: Iterable[Artifact]) -> Iterator[File]:
    """Return the files of artifacts. Pieces of one file, as streams append them, are one."""
    for artifact in artifacts:
        last: tuple[str, str] | None = None
        file = File("", [])
        for part in artifact.parts:
            content = _content(part)
            if content is None:
                last = None
                continue
            kind = (part.filename, part.media_type or ANY_BYTES)
            if kind == last and (part.filename or kind[1] == ANY_BYTES):
                file.pieces.append(content)
                continue
            if file.pieces:
                yield file
            last, file = kind, File(_name_of(part, artifact), [content])
        if file.pieces:
            yield file


def _content(part: Part) -> bytes | None:
    """Return the content of a part that is a file, or None."""
    match part.WhichOneof("content"):
        case "raw":
            return part.raw
        case "text" if part.filename:
            return part.text.encode()
    return None


def _name_of(part: Part, artifact: Artifact) -> str:
    if part.filename:
        return part.filename
    kind = (part.media_type or ANY_BYTES).partition(";")[0].strip()
    return (
        f"{artifact.name or artifact.artifact_id}{(mimetypes.guess_extension(kind) if kind != ANY_BYTES else '') or ''}"
    )


def _named(files: Iterable[File]) -> Iterator[File]:
    """Give each file a safe name of its own."""
    taken: set[str] = set()
    for file in files:
        safe = name = safe_name(file.name)
        number = 1
        while safe.casefold() in taken:  # also on file systems that do not tell A from a
            number += 1
            stem, dot, end = name.rpartition(".")
            safe = f"{stem}-{number}{dot}{end}" if stem else f"{name}-{number}"
        taken.add(safe.casefold())
        yield File(safe, file.pieces)


def safe_name(name: str) -> str:
    """Return a name that stays in its folder, on every system. What is not allowed in it becomes `_`."""
    name = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    name = UNSAFE.sub("_", name).strip(" .") or "file"
    if RESERVED.match(name):
        name = f"_{name}"
    stem, dot, end = name.rpartition(".")
    room = MAX_NAME_BYTES - len((dot + end).encode())
    if len(name.encode()) > MAX_NAME_BYTES:
        name = (stem.encode()[:room].decode(errors="ignore") + dot + end) if stem and room > 0 else ""
        name = name or (dot + end).encode()[:MAX_NAME_BYTES].decode(errors="ignore")
    return name
