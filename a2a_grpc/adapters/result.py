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
    """

    def __init__(self, turn: Turn, name: str = "") -> None:
        self._turn = turn
        self._name = name or turn.skill
        self._text = ""
        self._files: list[Part] = []
        self._is_new = True
        self.id = ""

    def begin(self) -> None:
        """Have the next piece replace the artifact."""
        self._text, self._files, self._is_new = "", [], True

    async def piece(self, piece: str | Part) -> None:
        """Write a piece of a text, or a file."""
        if not piece:
            return
        if isinstance(piece, Part):
            self._files.append(piece)
        else:
            self._text += piece
        await self._put(piece)

    async def end(self, contents: Contents) -> None:
        """End the artifact. It holds the contents, and the files of the last response."""
        if contents == self._text and not self._is_new:
            await self._turn.artifact("", id=self.id, append=True, last_chunk=True)
            return
        files = [file for file in self._files if not (isinstance(contents, Part) and file == contents)]
        whole: Contents = [*_listed(contents), *files] if files else contents
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
