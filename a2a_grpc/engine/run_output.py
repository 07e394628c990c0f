"""Write the output of a handler as artifacts of its task."""

from typing import cast

from a2a_grpc.agent import Output
from a2a_grpc.agent.output import artifact, artifacts, is_artifacts
from a2a_grpc.engine.player import Sink
from a2a_grpc.engine.task_turn import TaskTurn
from a2a_grpc.parts import Contents
from a2a_grpc.wire import Artifact


class RunOutput(Sink):
    """Writes what a handler returns as artifacts, and what a generator yields as chunks of one artifact.

    Nothing waits until it is stored. `name` is the name of an artifact that has none.
    """

    __slots__ = ("_artifact_id", "_name", "_run", "_writer")

    def __init__(self, run: TaskTurn, name: str) -> None:
        self._run = run
        self._writer = run.writer
        self._name = name
        self._artifact_id = ""
        """The artifact that the next chunk extends; empty if there is none yet."""

    async def whole(self, output: Output) -> None:
        """Write the artifacts of a result."""
        await self._whole(output, self._name)

    async def piece(self, piece: Output) -> None:
        """Write a chunk. Write an artifact that was yielded as an artifact of its own."""
        if isinstance(piece, str):  # what most yield
            if not self._writer.is_ready:
                await self._writer.ready()
            if self._artifact_id:
                self._text(self._artifact_id, piece, append=True)
            else:
                self._artifact_id = self._run.new_artifact_id()
                self._text(self._artifact_id, piece, name=self._name)
        elif is_artifacts(piece):
            await self._whole(piece, "")
        else:
            append, name = bool(self._artifact_id), "" if self._artifact_id else self._name
            self._artifact_id = self._artifact_id or self._run.new_artifact_id()
            made = artifact(cast("Contents", piece), artifact_id=self._artifact_id, name=name)
            await self._put(made, append=append, last_chunk=False)

    async def last(self) -> None:
        """Say that the last chunk was the last. It is an empty text, which adds no part (`lifecycle.is_seal`)."""
        if self._artifact_id:
            await self._put(artifact("", artifact_id=self._artifact_id), append=True, last_chunk=True)

    async def _whole(self, output: Output, name: str) -> None:
        if isinstance(output, str):  # what most return
            if not self._writer.is_ready:
                await self._writer.ready()
            self._text(self._run.new_artifact_id(), output, name=name, last_chunk=True)
            return
        for made in artifacts(output, name=name):
            made.artifact_id = made.artifact_id or self._run.new_artifact_id()
            await self._put(made, append=False, last_chunk=True)

    def _text(
        self, artifact_id: str, text: str, *, name: str = "", append: bool = False, last_chunk: bool = False
    ) -> None:
        """Write a text, once the writer is ready."""
        if self._run.writes_output():
            self._writer.text(artifact_id, text, name=name, append=append, last_chunk=last_chunk)

    async def _put(self, made: Artifact, *, append: bool, last_chunk: bool) -> None:
        if self._run.writes_output():
            await self._writer.artifact(made, append=append, last_chunk=last_chunk, behind=True)
