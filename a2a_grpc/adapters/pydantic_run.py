"""One turn of an agent of Pydantic AI: its model streams, calls tools, and asks the user."""

from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic_ai import (
    DeferredToolRequests,
    DeferredToolResults,
    FilePart,
    FinalResultEvent,
    FunctionToolCallEvent,
    FunctionToolResultEvent,
    ModelMessage,
    NativeToolCallPart,
    PartDeltaEvent,
    PartStartEvent,
    RunUsage,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolDenied,
    ToolReturnPart,
    UsageLimits,
    UserContent,
)
from pydantic_ai.agent import AbstractAgent

from a2a_grpc.adapters.calls import ASK_USER, NOT_KEPT, Answers, Call, Denied, Stage, answers, asked, is_about, tell
from a2a_grpc.adapters.past import question_in_task, said_before, said_in_task
from a2a_grpc.adapters.pydantic_content import (
    Kept,
    closed,
    contents_of,
    files_in,
    keep_messages,
    kept_messages,
    messages_of,
    part_of,
    prompt_of,
)
from a2a_grpc.adapters.result import Result
from a2a_grpc.agent import Failed, Outcome, Turn
from a2a_grpc.wire import Part

STAGES: dict[str, Stage] = {"success": "done", "denied": "denied"}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `agent_of` for each turn."""

    deps: Callable[[Turn], Any] | None
    usage_limits: UsageLimits | None
    past_tasks: int
    resumable: bool


class Run:
    """Runs the agent for one turn.

    The messages of the model are kept before tools are called, and once they have returned. So a later attempt calls
    the same tools again, or goes on with their results.
    """

    def __init__(self, assistant: AbstractAgent[Any, Any], turn: Turn, options: Options) -> None:
        self._assistant = assistant
        self._turn = turn
        self._options = options
        self._turn_id = str(turn.uuid())
        """The same in each attempt. Clients may use one id for several messages."""
        self._result = Result(turn)
        self._streams = _has_text(assistant.output_type)

    async def play(self) -> Outcome | None:
        """Run the agent from its message, or from where an earlier attempt has kept it."""
        turn = self._turn
        kept = await kept_messages(turn)
        if kept is None:
            past = [*await said_before(turn, self._options.past_tasks), *said_in_task(turn)]
            return await self._run(messages_of(past), RunUsage(), prompt=prompt_of(turn.message))
        self._result.id, self._result.files = kept.artifact_id, files_in(kept.messages)
        if kept.turn_id == self._turn_id:  # an earlier attempt of this turn
            return asked(kept.calls) if kept.calls else await self._run(kept.messages, kept.usage)
        if not is_about(turn, kept.calls):  # a tool has ended the turn before, with a question of its own
            messages = [*closed(kept.messages), *messages_of(question_in_task(turn))]
            return await self._run(messages, kept.usage, prompt=prompt_of(turn.message))
        said = answers(kept.calls, turn.message)
        if said is None:
            return asked(kept.calls)
        return await self._run(kept.messages, kept.usage, results=_results(kept.calls, said))

    async def _run(
        self,
        messages: list[ModelMessage],
        usage: RunUsage,
        *,
        prompt: str | list[UserContent] | None = None,
        results: DeferredToolResults | None = None,
    ) -> Outcome | None:
        deps = self._options.deps
        is_first = True
        async with self._assistant.iter(
            prompt,
            message_history=messages,
            deferred_tool_results=results,
            conversation_id=self._turn.context_id,
            deps=deps(self._turn) if deps else None,
            usage_limits=self._options.usage_limits,
            usage=usage,
        ) as run:
            async for node in run:
                if AbstractAgent.is_model_request_node(node):
                    if self._options.resumable and not is_first:
                        await self._keep([*run.all_messages(), node.request], run.usage)
                    async with node.stream(run.ctx) as events:
                        await self._say(events)
                elif AbstractAgent.is_call_tools_node(node):
                    if self._options.resumable and not is_first and node.model_response.tool_calls:
                        await self._keep(run.all_messages(), run.usage)
                    async with node.stream(run.ctx) as events:
                        await self._tell(events)
                else:
                    continue
                is_first = False
        assert run.result is not None
        output = run.result.output
        if isinstance(output, DeferredToolRequests):
            calls = _calls(output)
            await self._result.show_files()
            is_kept = await self._keep(run.result.all_messages(), run.usage, calls)
            return asked(calls) if is_kept else Failed(NOT_KEPT)
        if output is not None or self._result.files:
            await self._result.end("" if output is None else contents_of(output))
        return None

    async def _keep(self, messages: list[ModelMessage], usage: RunUsage, calls: list[Call] | None = None) -> bool:
        """Keep the messages with the task. Return False if they cannot be kept."""
        kept = Kept(messages, usage, self._turn_id, self._result.id, calls or [])
        return await keep_messages(self._turn, kept)

    async def _say(self, events: AsyncIterable[object]) -> None:
        """Stream a response of the model."""
        self._result.begin()
        is_result, held, begun = False, "", set[int]()
        files: list[Part] = []
        async for event in events:
            match event:
                case PartStartEvent(index=index, part=TextPart() | FilePart() as part):
                    if index in begun:  # the model begins again
                        self._result.begin()
                        files.clear()
                    begun.add(index)
                    if isinstance(part, FilePart):  # it is shown once the agent accepts what the model says
                        files.append(part_of(part.content))
                        continue
                    piece = part.content
                case PartDeltaEvent(delta=TextPartDelta(content_delta=piece)):
                    pass
                case FinalResultEvent(tool_name=None):
                    is_result, piece = self._streams, ""
                case PartStartEvent(part=NativeToolCallPart() as call):
                    await tell(self._turn, "called", call.tool_name, call.tool_call_id)
                    continue
                case _:
                    continue
            held += piece
            if is_result:
                await self._result.piece(held)
                held = ""
        self._result.files += files

    async def _tell(self, events: AsyncIterable[object]) -> None:
        """Tell of the calls of tools."""
        async for event in events:
            match event:
                case FunctionToolCallEvent(part=call, args_valid=bool()):  # None: the user has denied it
                    await tell(self._turn, "called", call.tool_name, call.tool_call_id)
                case FunctionToolResultEvent(part=part):
                    stage = STAGES.get(part.outcome, "failed") if isinstance(part, ToolReturnPart) else "failed"
                    await tell(self._turn, stage, part.tool_name or "", part.tool_call_id)


def _has_text(output_type: object) -> bool:
    """Return True if the text of the model, as it is, is the output of the agent."""
    kinds: Sequence[object] = (output_type,)
    if isinstance(output_type, (list, tuple)):
        kinds = output_type
    elif get_origin(output_type) in (Union, UnionType):
        kinds = get_args(output_type)
    return any(kind is str or (isinstance(kind, (list, tuple)) and _has_text(kind)) for kind in kinds)


def _calls(requests: DeferredToolRequests) -> list[Call]:
    """Return the calls that wait for the user."""
    waiting = [_call(call, "approval") for call in requests.approvals]
    return waiting + [_call(call, "result") for call in requests.calls]


def _call(call: ToolCallPart, needs: Literal["approval", "result"]) -> Call:
    arguments = call.args_as_dict()
    question = arguments.get("question") if call.tool_name == ASK_USER else ""
    return Call(call.tool_call_id, call.tool_name, arguments, needs, str(question or ""))


def _results(calls: Sequence[Call], said: Answers) -> DeferredToolResults:
    """Return what the user said as the results of calls."""
    results = DeferredToolResults()
    for call in calls:
        answer = said[call.id]
        if call.needs == "result":
            results.calls[call.id] = answer
        elif isinstance(answer, Denied):
            results.approvals[call.id] = ToolDenied(answer.reason) if answer.reason else ToolDenied()
        else:
            results.approvals[call.id] = True
    return results
