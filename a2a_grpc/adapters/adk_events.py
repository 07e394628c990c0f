"""Writes the events of an ADK agent to the task: texts and files as artifacts, calls of tools as status messages."""

import json
import logging
import re
from collections import Counter
from typing import Any

from google.adk.artifacts import BaseArtifactService
from google.adk.events.event import Event
from google.genai import types

from a2a_grpc.adapters.adk_agents import Agents
from a2a_grpc.adapters.adk_calls import Told
from a2a_grpc.adapters.adk_content import code_of, file_of
from a2a_grpc.adapters.result import Result
from a2a_grpc.agent import Turn
from a2a_grpc.harmless import one_line
from a2a_grpc.parts import Contents, agent_message, put, struct
from a2a_grpc.wire import Artifact, Part

logger = logging.getLogger("a2a_grpc.adapters")

ABORTED = "INVOCATION_ABORTED"
REASON = re.compile(r"[A-Z][A-Z0-9_]*")
"""A code of a language model, such as "SAFETY". Other codes are names of exceptions."""
SAVED = "adk_file"
"""The key in the metadata of an artifact with the name under which ADK knows the file."""


class _Speech:
    """What one agent says: its artifact, and the thoughts that are not told yet."""

    def __init__(self, turn: Turn, author: str) -> None:
        self.author = author
        self.result = Result(turn, name=author)
        self.is_streamed = False
        self.thoughts = ""


class EventWriter:
    """Writes the events of a run to a task.

    Each agent of the run has one artifact, with what it said last. The first piece of each message replaces it.

    Attributes:
        told: Sends the status messages about calls of tools.
        waiting: The calls that wait for the user.
        error: Why the run has failed; empty if it has not.
    """

    def __init__(self, turn: Turn, root: Any, files: BaseArtifactService | None, session: dict[str, str]) -> None:
        """Write to a turn. `files` is where ADK keeps files, and `session` are the arguments that name the session."""
        self._turn = turn
        self._agents = Agents(root)
        self.told = Told(turn, self._agents)
        self._files = files
        self._session = session
        self._speeches: dict[tuple[str, str], _Speech] = {}
        self._named: Counter[str] = Counter()
        self.waiting: list[types.FunctionCall] = []
        self.error = ""

    async def take(self, event: Event) -> None:
        """Write one event."""
        speech = self._speech_of(event)
        parts = (event.content.parts if event.content else None) or []
        if event.partial:
            await self._stream(event.author, speech, parts)
            return
        if event.error_code != ABORTED:
            await self._message(event, speech, parts)
        if event.actions.transfer_to_agent:
            await self._status(f"The agent '{event.actions.transfer_to_agent}' goes on.")
        if event.actions.escalate:
            await self._status(f"The agent '{event.author}' ends this part of the work.")
        await self._saved(event)

    async def restore(self, event: Event) -> None:
        """Write what an event of a lost attempt says, and note its calls. They have been told already."""
        parts = (event.content.parts if event.content else None) or []
        if event.author == "user" or event.error_code == ABORTED:
            return
        self._fail(event, parts)
        self._note(event)
        contents = self._contents(event, parts)
        if contents is not None and not event.get_function_calls():
            speech = self._speech_of(event)
            speech.result.begin()
            await self._result(speech).end(contents)
        await self._saved(event)

    async def _stream(self, author: str, speech: _Speech, parts: list[types.Part]) -> None:
        """Write a piece of a message."""
        if not speech.is_streamed:
            speech.result.begin()
        for part in parts:
            if not part.text:
                continue
            speech.is_streamed = True
            if part.thought:
                speech.thoughts += part.text
                continue
            await self._think(speech)
            if not self._agents.has_schema(author):
                await self._result(speech).piece(part.text)

    async def _message(self, event: Event, speech: _Speech, parts: list[types.Part]) -> None:
        """Write a whole message, of which the pieces may have been written already."""
        was_streamed = speech.is_streamed
        if not was_streamed:
            speech.thoughts = "".join(part.text or "" for part in parts if part.thought)
        speech.is_streamed = False
        await self._think(speech)
        self._fail(event, parts)
        self._note(event)
        asks = event.actions.requested_tool_confirmations.keys() | event.actions.requested_auth_configs.keys()
        for part in parts:
            if part.function_call is not None:
                await self.told.called(event.author, part.function_call)
            elif part.function_response is not None and part.function_response.id not in asks:
                await self.told.answered(part.function_response)
        contents = self._contents(event, parts)
        if contents is None:
            return
        if not was_streamed:
            speech.result.begin()
        if not event.get_function_calls():
            await self._result(speech).end(contents)
        elif not was_streamed:  # the next message takes its place
            for item in contents if isinstance(contents, list) else [contents]:
                if isinstance(item, str | Part):
                    await self._result(speech).piece(item)

    def _contents(self, event: Event, parts: list[types.Part]) -> Contents | None:
        """Return what a message gives the user; None if it gives nothing."""
        text = "".join(part.text or code_of(part) for part in parts if not part.thought)
        files = [file for part in parts if (file := file_of(part)) is not None]
        if event.output is not None and not text and _is_of_root(event):
            return event.output  # type: ignore[no-any-return]  # a JSON value or a model of pydantic
        if text and self._agents.has_schema(event.author) and not event.get_function_calls():
            try:
                return json.loads(text)  # type: ignore[no-any-return]
            except ValueError:
                pass
        if files:
            return [Part(text=text), *files] if text else [*files]
        return text or None

    def _note(self, event: Event) -> None:
        """Note the calls that wait for the user."""
        waiting = event.long_running_tool_ids or set()
        self.waiting += [call for call in event.get_function_calls() if call.id in waiting]

    def _fail(self, event: Event, parts: list[types.Part]) -> None:
        """Note an error, until a later event shows that the run went on. What ADK says of it is not for callers."""
        code: str = getattr(event.error_code, "value", event.error_code) or ""
        if code or event.error_message:
            task = self._turn.task
            detail = one_line(": ".join(filter(None, [code, event.error_message])))
            logger.warning(
                "error in a run of ADK task=%s agent=%s error=%s", task.id if task else "", event.author, detail
            )
            is_of_model = REASON.fullmatch(code) is not None
            self.error = f"The language model gave no answer: {code}." if is_of_model else "The agent gave no answer."
        elif parts or event.output is not None:
            self.error = ""

    async def _think(self, speech: _Speech) -> None:
        """Tell the thoughts of the model as one status message."""
        if thoughts := speech.thoughts.strip():
            await self._status(thoughts, thought=True)
        speech.thoughts = ""

    async def _status(self, text: str, **metadata: bool) -> None:
        task = self._turn.task
        said = agent_message(text, context_id=self._turn.context_id, task_id=task.id if task else "")
        if metadata:
            said.metadata.CopyFrom(struct(dict(metadata)))
        await self._turn.status(said)

    async def _saved(self, event: Event) -> None:
        """Write the files that the agent has saved in ADK's service."""
        if self._files is None:
            return
        for name, version in event.actions.artifact_delta.items():
            part = await self._files.load_artifact(**self._session, filename=name, version=version)
            shown = name.removeprefix("user:")
            content = (file_of(part, shown) or part.text) if part is not None else None
            if content is not None:
                artifact = put(content, Artifact(artifact_id=f"{SAVED}:{name}", name=shown))
                artifact.metadata.CopyFrom(struct({SAVED: name}))
                await self._turn.artifact(artifact, last_chunk=True)

    def _speech_of(self, event: Event) -> _Speech:
        """Return the speech of an agent. One that runs several times side by side has several."""
        path = event.node_info.path if event.node_info else ""
        key = event.author, f"{event.branch}:{path}"
        if key not in self._speeches:
            self._speeches[key] = _Speech(self._turn, event.author)
        return self._speeches[key]

    def _result(self, speech: _Speech) -> Result:
        """Return the artifact of an agent. Its id is the same in each turn and attempt."""
        if not speech.result.id:
            self._named[speech.author] += 1
            place = self._named[speech.author]
            speech.result.id = speech.author if place == 1 else f"{speech.author}-{place}"
        return speech.result


def _is_of_root(event: Event) -> bool:
    """Return True if the output of an event is that of the whole run."""
    paths = event.node_info.output_for or [event.node_info.path]
    return any("/" not in path for path in paths)
