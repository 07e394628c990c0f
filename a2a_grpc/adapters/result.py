"""The artifact that a language model writes: streamed, and begun anew with each response of the model."""

from a2a_grpc.agent import Turn
from a2a_grpc.parts import Content, Contents
from a2a_grpc.wire import Part


class Result:
    """Writes the result of a task as one artifact.

    A model may say something before it calls tools, or may be told to try again. So the first piece of each response
    replaces what the artifact holds, and at the end the artifact holds the result alone.

    Args:
        turn: The turn that makes the result.
        name: The name of the artifact; empty for the id of the skill.

    Attributes:
        id: The artifact; empty as long as there is none. A later turn or attempt that sets it replaces that artifact.
        files: The files that the model has made in all of its responses. The artifact gets them at its end.
    """

    def __init__(self, turn: Turn, name: str = "") -> None:
        self._turn = turn
        self._name = name or turn.skill
        self._text = ""
        self._is_new = True
        self.id = ""
        self.files: list[Part] = []

    def begin(self) -> None:
        """Have the next piece replace the artifact."""
        self._text, self._is_new = "", True

    async def piece(self, piece: str | Part) -> None:
        """Write a piece of a text, or a file that the next response replaces."""
        if not piece:
            return
        if isinstance(piece, str):
            self._text += piece
        await self._put(piece)

    async def show_files(self) -> None:
        """Add the files to what the artifact holds, because the task waits before its end."""
        if self.files:
            await self._put(list(self.files))

    async def end(self, contents: Contents) -> None:
        """End the artifact. It holds the contents, and the files."""
        listed = [] if contents == "" else _listed(contents)
        files = [file for file in self.files if file not in listed]
        if contents == self._text and not self._is_new:
            await self._put(files or "", last_chunk=True)
            return
        whole: Contents = [*listed, *files] if files else contents
        self.begin()
        await self._put(whole, last_chunk=True)

    async def _put(self, contents: Contents, *, last_chunk: bool = False) -> None:
        name = self._name if self._is_new else ""
        append = not self._is_new
        self.id = await self._turn.artifact(contents, id=self.id, name=name, append=append, last_chunk=last_chunk)
        self._is_new = False


def _listed(contents: Contents) -> list[Content]:
    """Return contents as one item for each part."""
    if isinstance(contents, list) and any(isinstance(item, Part) for item in contents):
        return contents
    return [contents]  # type: ignore[list-item]  # without a Part in it, a list is data of one part
