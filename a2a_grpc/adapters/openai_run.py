"""One turn of an agent of the OpenAI Agents SDK: its models stream, call tools, hand over, and ask the user."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from agents import Agent as Assistant
from agents import (
    AgentUpdatedStreamEvent,
    ApplyPatchTool,
    RawResponsesStreamEvent,
    RunConfig,
    RunContextWrapper,
    RunHooks,
    RunItemStreamEvent,
    Runner,
    RunResultStreaming,
    RunState,
    ShellTool,
)
from agents.tool_context import ToolContext

from a2a_grpc.adapters.calls import ASK_USER, NOT_KEPT, Answers, Call, Denied, Stage, answers, asked, tell
from a2a_grpc.adapters.openai_content import (
    Kept,
    arguments_of,
    contents_of,
    field,
    image_of,
    input_of,
    items_of,
    keep_run,
    kept_run,
    tool_name,
)
from a2a_grpc.adapters.past import question_in_task, said_before, said_in_task
from a2a_grpc.adapters.result import Result
from a2a_grpc.agent import Failed, Outcome, Turn
from a2a_grpc.parts import files_of
from a2a_grpc.wire import Task

SAID: ContextVar[Mapping[str, str]] = ContextVar("said")
"""The answers of the user to the questions of the model, by the ids of the calls of the tool `ask_user`."""
STARTED = frozenset({"function_call", "custom_tool_call"})
"""The types of calls for which the SDK runs `on_tool_start` when the tool begins, so after the user has allowed it."""
NATIVE = {"shell_call": ShellTool, "apply_patch_call": ApplyPatchTool}
"""The tools that may wait for the user, and for which `on_tool_start` does not say which call begins."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `agent_of` for each turn."""

    context: Callable[[Turn], Any] | None
    run_config: RunConfig
    max_turns: int
    past_tasks: int
    resumable: bool


class Run(RunHooks[Any]):  # type: ignore[misc]  # the SDK is not checked
    """Runs the agent for one turn.

    What a model is called with is kept before each call. So a later attempt calls the model again, with the results of
    the tools that its earlier responses had called.
    """

    def __init__(self, assistant: Assistant[Any], turn: Turn, options: Options) -> None:
        self._assistant = assistant
        self._turn = turn
        self._options = options
        self._turn_id = str(turn.uuid())
        """The same in each attempt. Clients may use one id for several messages."""
        self._result = Result(turn)
        self._context = options.context(turn) if options.context else None
        self._tools: dict[str, str] = {}
        """Names of tools by the ids of their calls."""
        self._denied: set[str] = set()
        self._held: set[str] = set()
        """The ids of calls that may have to wait for the user, so that the caller does not know of them yet."""

    async def play(self) -> Outcome | None:
        """Run the agent from its message, or from where an earlier attempt or turn has kept it."""
        turn, kept = self._turn, await kept_run(self._turn)
        if kept is None:
            past = items_of([*await said_before(turn, self._options.past_tasks), *said_in_task(turn)])
            return await self._run(self._assistant, [*past, input_of(turn.message)])
        self._result.id = kept.artifact_id
        is_begun = kept.turn_id == self._turn_id  # by an earlier attempt of this turn
        if kept.state is None:
            self._result.files = [image for item in kept.items if (image := image_of(item))]
            # a tool may have ended the turn before
            more = [] if is_begun else [*items_of(question_in_task(turn)), input_of(turn.message)]
            return await self._run(_named(self._assistant, kept.agent), [*kept.items, *more])
        said = None if is_begun else answers(kept.calls, turn.message)
        if said is None:
            return asked(kept.calls)
        return await self._run(self._assistant, await self._answered(kept.state, kept.calls, said))

    async def _answered(self, kept: dict[str, Any], calls: Sequence[Call], said: Answers) -> RunState[Any]:
        """Return the run that waited, with the answers of the user and the images that it has made."""
        artifacts = self._turn.task.artifacts if self._turn.task else ()
        self._result.files = files_of(Task(artifacts=[one for one in artifacts if one.artifact_id == self._result.id]))
        # the limit of `max_turns` is one for each message
        kept = {**kept, "max_turns": kept["current_turn"] + self._options.max_turns}
        context = RunContextWrapper(context=self._context)
        state = await RunState.from_json(self._assistant, kept, context_override=context)
        waiting = {call.id: call for call in calls}
        SAID.set({call.id: _text(said[call.id]) for call in calls if call.needs == "result"})
        for item in state.get_interruptions():
            call_id = field(item.raw_item, "call_id", "id")
            answer = said.get(call_id)
            self._tools[call_id] = waiting[call_id].tool if call_id in waiting else ""
            if isinstance(answer, Denied):
                self._denied.add(call_id)
                state.reject(item, **({"rejection_message": answer.reason} if answer.reason else {}))
            elif call_id in said:
                state.approve(item)
                if field(item.raw_item, "type") in NATIVE:
                    await tell(self._turn, "called", self._tools[call_id], call_id)
        return state

    async def _run(self, assistant: Assistant[Any], given: "list[Any] | RunState[Any]") -> Outcome | None:
        config = self._options.run_config
        if config.group_id is None:
            config = replace(config, group_id=self._turn.context_id)
        run = Runner.run_streamed(
            assistant,
            given,
            # a run that goes on has its context already
            context=None if isinstance(given, RunState) else self._context,
            max_turns=self._options.max_turns,
            hooks=self,
            run_config=config,
        )
        try:
            await self._follow(run)
        finally:
            if not run.is_complete:
                run.cancel()
                async for _ in run.stream_events():
                    pass
        if run.interruptions:
            calls = [_call(item) for item in run.interruptions]
            state = run.to_state().to_json(context_serializer=lambda _: {})
            await self._result.show_files()
            is_kept = await keep_run(self._turn, Kept(self._turn_id, self._result.id, "", [], state, calls))
            return asked(calls) if is_kept else Failed(NOT_KEPT)
        if run.final_output is not None or self._result.files:
            await self._result.end("" if run.final_output is None else contents_of(run.final_output))
        return None

    async def withdraw(self) -> None:
        """Empty the artifact, if it has begun, because a guardrail stopped the run."""
        self._result.files = []
        if self._result.id:
            await self._result.end("")

    async def on_llm_start(
        self, context: object, agent: Assistant[Any], system_prompt: str | None, input_items: list[Any]
    ) -> None:
        """Keep what a model is called with."""
        if self._options.resumable:
            await keep_run(self._turn, Kept(self._turn_id, self._result.id, agent.name, list(input_items), None, []))

    async def on_tool_start(self, context: object, agent: object, tool: object) -> None:
        """Tell that a tool is called. A call that waits for the user is not told of before its answer."""
        if isinstance(context, ToolContext):
            await tell(self._turn, "called", context.tool_name, context.tool_call_id)

    async def _follow(self, run: RunResultStreaming) -> None:
        """Tell of the events of a run."""
        agent, place = None, None
        async for event in run.stream_events():
            match event:
                case RawResponsesStreamEvent(data=data):
                    if data.type in ("response.created", "response.completed"):
                        place = None
                    elif data.type == "response.output_text.delta" and self._streams(agent or run.current_agent):
                        if place != data.output_index:
                            self._result.begin()
                            place = data.output_index
                        await self._result.piece(data.delta)
                case AgentUpdatedStreamEvent(new_agent=new_agent):
                    if agent is not None:
                        await self._turn.status(f"The agent hands over to '{new_agent.name}'.")
                    agent = new_agent
                case RunItemStreamEvent(name=name, item=item):
                    await self._tell(name, item)

    async def _tell(self, name: str, item: Any) -> None:
        """Tell of the call of a tool, or take the image that it made."""
        raw = item.raw_item
        call_id = field(raw, "call_id", "id")
        if name == "tool_called":
            self._tools[call_id] = tool_name(raw)
            if image := image_of(raw):
                self._result.files.append(image)  # it is shown once no guardrail has stopped the answer
            elif _may_wait(item):
                self._held.add(call_id)
            elif field(raw, "type") not in STARTED:
                await tell(self._turn, "called", self._tools[call_id], call_id)
        elif name == "tool_output":
            if call_id in self._held:  # it did not have to wait
                await tell(self._turn, "called", self._tools[call_id], call_id)
            stage: Stage = "denied" if call_id in self._denied else "done"
            await tell(self._turn, stage, self._tools.get(call_id, ""), call_id)

    def _streams(self, agent: Assistant[Any]) -> bool:
        """Return True if the text of an agent's model is its output, and nothing checks it at the end."""
        guardrails = agent.output_guardrails or self._options.run_config.output_guardrails
        return not guardrails and agent.output_type in (None, str)


def _named(first: Assistant[Any], name: str) -> Assistant[Any]:
    """Return the agent of this name to which an agent can hand over, directly or not; otherwise the first one."""
    found, waiting = {first.name: first}, [first]
    while waiting:
        for other in waiting.pop().handoffs:
            if isinstance(other, Assistant) and other.name not in found:
                found[other.name] = other
                waiting.append(other)
    return found.get(name, first)


def _may_wait(item: Any) -> bool:
    """Return True if an item is a call of a shell or of `apply_patch` that the user may have to allow."""
    kind = NATIVE.get(field(item.raw_item, "type"))
    return kind is not None and any(isinstance(tool, kind) and tool.needs_approval for tool in item.agent.tools)


def _call(item: Any) -> Call:
    """Return a call that waits for the user."""
    raw = item.raw_item
    arguments = arguments_of(raw)
    name = item.tool_name or tool_name(raw)
    call_id = field(raw, "call_id", "id")
    if name == ASK_USER and isinstance(arguments, dict):
        return Call(call_id, name, arguments, "result", str(arguments.get("question") or ""))
    return Call(call_id, name, arguments, "approval")


def _text(answer: object) -> str:
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
