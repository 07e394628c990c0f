"""What is special to the OpenAI Agents SDK. Prints as JSON what callers see.

python -m tests.adapters.peers.openai_more
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent as Assistant
from agents import (
    ApplyPatchTool,
    CustomTool,
    GuardrailFunctionOutput,
    Model,
    RunConfig,
    RunContextWrapper,
    ShellTool,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from agents.editor import ApplyPatchResult
from openai.types.responses import (
    ResponseApplyPatchToolCall,
    ResponseCustomToolCall,
    ResponseFunctionShellToolCall,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)
from openai.types.responses.response_output_item import ImageGenerationCall
from pydantic import BaseModel

from a2a_grpc import Agent, Client, Message, Part, Server, ServerSettings, Task, Turn, connect, data_of, text_of
from a2a_grpc.adapters.openai_agents import agent_of, as_tool
from a2a_grpc.lifecycle import state_name
from a2a_grpc.parts import Content, Contents, files_of
from a2a_grpc.wire import ROLE_AGENT, ROLE_USER
from tests.adapters.peers.openai_model import Said, Scripted, completed, results_of

QUIET = RunConfig(tracing_disabled=True)
SETTINGS = ServerSettings(listen="127.0.0.1:0", http_listen="off")


@asynccontextmanager
async def client_of(assistant: Assistant, **options: Any) -> AsyncIterator[Client]:
    agent = agent_of(assistant, "More", "Does more.", run_config=QUIET, **options)
    async with Server(agent, SETTINGS) as server, connect(server.grpc_address) as client:
        yield client


async def sent(client: Client, content: Contents | Message, **options: Any) -> Task:
    task = await client.send(content, **options)
    assert isinstance(task, Task)
    return task


def shown(task: Task) -> list[Any]:
    return [state_name(task.status.state), text_of(task.status.message), text_of(Task(artifacts=task.artifacts))]


async def approvals() -> dict[str, Any]:
    deleted: list[str] = []
    seen: list[Any] = []

    def script(items: list[dict[str, Any]]) -> Said:
        seen[:] = [item["content"] for item in items if item.get("role") == "user"]
        results = results_of(items)
        return [["It is ", f"{results[-1]}."]] if results else [["I delete it."], ("delete", '{"path": "a.txt"}')]

    @function_tool(needs_approval=True)  # type: ignore[untyped-decorator]  # the SDK is not checked
    async def delete(context: RunContextWrapper[Turn], path: str) -> str:
        deleted.append(f"{path} for {context.context.context_id}")
        return "gone"

    assistant = Assistant(name="files", model=Scripted(script), tools=[delete])
    message: list[Content] = [
        Part(text="Delete it."),
        Part(raw=bytes(2000), media_type="image/png"),
        Part(raw=b"a,b", media_type="text/csv", filename="a.csv"),
        Part(url="https://files.example/a.pdf", media_type="application/pdf"),
        {"why": 1},
    ]
    async with client_of(assistant, context=lambda turn: turn, input_modes=["*/*"]) as client:
        asked = await sent(client, message, context_id="c")
        again = await sent(client, "perhaps", task_id=asked.id)
        done = await sent(client, "yes", task_id=asked.id)
        given = json.dumps(seen[0]).replace(json.dumps(seen[0][1]["image_url"]), '"PNG"')
        size = len(seen[0][1]["image_url"])
        other = await sent(client, "Another.", context_id="c")
        texts = list(seen)
        denied = await sent(client, "no, keep it", task_id=other.id)
    return {
        "asked": shown(asked), "again": shown(again)[:2], "done": shown(done), "deleted": deleted,
        "given": json.loads(given), "size": size, "texts": texts, "denied": shown(denied),
    }  # fmt: skip


async def ends() -> dict[str, Any]:
    @input_guardrail  # type: ignore[untyped-decorator]
    async def no_input(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info="secret", tripwire_triggered=True)

    @output_guardrail  # type: ignore[untyped-decorator]
    async def no_output(context: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info="secret", tripwire_triggered=True)

    def hello(items: list[dict[str, Any]]) -> Said:
        return [["Hello."]]

    def loop(items: list[dict[str, Any]]) -> Said:
        return [("look", "{}")]

    @function_tool  # type: ignore[untyped-decorator]
    async def look() -> str:
        return "nothing"

    other = Assistant(name="other", model=Scripted(hello))
    assistants = {
        "input": Assistant(name="a", model=Scripted(hello), input_guardrails=[no_input]),
        "output": Assistant(name="a", model=Scripted(hello), output_guardrails=[no_output]),
        "turns": Assistant(name="a", model=Scripted(loop), tools=[look]),
        "handoff": Assistant(name="a", model=Scripted(lambda items: [("transfer_to_other", "{}")]), handoffs=[other]),
    }
    found: dict[str, Any] = {}
    for name, assistant in assistants.items():
        async with client_of(assistant, max_turns=2) as client:
            task = await sent(client, "hello")
            found[name] = [*shown(task), *map(text_of, task.history[1:])]
    return found


class Painter(Model):  # type: ignore[misc]  # the SDK is not checked
    """Makes an image, then calls a tool that needs approval, then says that it is done."""

    async def get_response(self, *given: Any, **named: Any) -> Any:
        raise NotImplementedError("this model streams")

    async def stream_response(self, instructions: Any, items: Any, *given: Any, **named: Any) -> AsyncIterator[Any]:
        results = results_of(items) if isinstance(items, list) else []
        image = ImageGenerationCall(id="i", type="image_generation_call", status="completed", result="cG5n")
        text = ResponseOutputText(type="output_text", text="Done.", annotations=[])
        said = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
        call = ResponseFunctionToolCall(name="hang", arguments="{}", call_id="c", type="function_call")
        yield completed([said] if results else [image, call])


async def images() -> dict[str, Any]:
    @function_tool(needs_approval=True)  # type: ignore[untyped-decorator]
    async def hang() -> str:
        return "hung"

    @output_guardrail  # type: ignore[untyped-decorator]
    async def no_output(context: Any, agent: Any, output: Any) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info="secret", tripwire_triggered=True)

    def message(text: str, task_id: str = "") -> Message:
        return Message(role=ROLE_USER, message_id="1", task_id=task_id, parts=[Part(text=text)])

    found: dict[str, Any] = {}
    for name, guardrails in {"free": [], "stopped": [no_output]}.items():
        assistant = Assistant(name="a", model=Painter(), tools=[hang], output_guardrails=guardrails)
        async with client_of(assistant, output_modes=["*/*"], max_turns=1) as client:
            asked = await sent(client, message("paint"))
            done = await sent(client, message("yes", asked.id))
        found[name] = {
            "asked": [file.raw.decode() for file in files_of(asked)],
            "done": [*shown(done), *(file.raw.decode() for file in files_of(done))],
            "said": [text_of(one).partition("\n")[0] for one in done.history if one.role == ROLE_AGENT],
        }
    return found


class Handy(Painter):
    """Calls a shell, `apply_patch`, a custom tool and a function, then says that it is done."""

    async def stream_response(self, instructions: Any, items: Any, *given: Any, **named: Any) -> AsyncIterator[Any]:
        text = ResponseOutputText(type="output_text", text="Done.", annotations=[])
        said = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
        is_done = isinstance(items, list) and any(str(item.get("type")).endswith("_output") for item in items)
        change = {"type": "delete_file", "path": "a.txt"}
        calls = [
            ResponseFunctionShellToolCall(
                id="1", call_id="1", action={"commands": ["ls"]}, status="completed", type="shell_call"
            ),
            ResponseApplyPatchToolCall(
                id="2", call_id="2", operation=change, status="completed", type="apply_patch_call"
            ),
            ResponseCustomToolCall(call_id="3", name="sql", input="SELECT 1", type="custom_tool_call"),
            ResponseFunctionToolCall(call_id="4", name="pay", arguments="{}", type="function_call"),
        ]
        yield completed([said] if is_done else calls)


class Editor:
    """Stands for an editor of files, and changes nothing."""

    def delete_file(self, operation: object) -> ApplyPatchResult:
        return ApplyPatchResult(output="gone")

    create_file = update_file = delete_file


async def native() -> dict[str, Any]:
    async def query(context: object, given: str) -> str:
        return given

    def may(*given: object) -> bool:
        return False

    @function_tool  # type: ignore[untyped-decorator]
    async def pay(context: RunContextWrapper[Turn]) -> str:
        return f"paid with {await context.context.ask('Which card?')}"

    def tools(needs_approval: Any) -> list[Any]:
        pay.needs_approval = needs_approval
        return [
            ShellTool(executor=lambda request: "listed", needs_approval=needs_approval),
            ApplyPatchTool(editor=Editor(), needs_approval=needs_approval),
            CustomTool(name="sql", description="Asks.", on_invoke_tool=query, needs_approval=needs_approval),
            pay,
        ]

    found: dict[str, Any] = {}
    plays: list[tuple[str, Any, list[Contents]]] = [
        ("maybe", may, ["Visa"]),
        ("approved", True, ["yes", "Visa"]),
        ("denied", True, [{"1": True, "2": "not this", "3": False, "4": False}]),
    ]
    for name, needs_approval, answers in plays:
        assistant = Assistant(name="a", model=Handy(), tools=tools(needs_approval))
        async with client_of(assistant, context=lambda turn: turn) as client:
            task = await sent(client, "go")
            for answer in answers:
                task = await sent(client, answer, task_id=task.id)
        first, *others = [text_of(one) for one in task.history if one.role == ROLE_AGENT]
        found[name] = [first, *sorted(others)] if needs_approval is True else sorted([first, *others])
        found[name] += shown(task)
    return found


class Box(BaseModel):
    width: int


async def tools() -> dict[str, Any]:
    remote = Agent("Paris", "Knows Paris.")
    contexts: list[str] = []

    @remote.skill()
    async def answer(turn: Turn) -> str:
        contexts.append(turn.context_id)
        await turn.status("looking")
        return f"{turn.text} is 3"

    def script(items: list[dict[str, Any]]) -> Said:
        results = results_of(items)
        assert results in ([], ["width is 3"]), results
        return [['{"wid', 'th": 3}']] if results else [("paris", '{"message": "width"}')]

    async with Server(remote, SETTINGS) as server:
        tool = as_tool(server.grpc_address, name="paris", description="Knows Paris.")
        assistant = Assistant(name="boxes", model=Scripted(script), tools=[tool], output_type=Box)
        async with client_of(assistant) as client:
            task = await sent(client, "How wide?")
            await sent(client, "How wide?", context_id=task.context_id)
    return {
        "data": data_of(task), "text": shown(task)[2], "said": [text_of(message) for message in task.history[1:]],
        "contexts": [len(contexts), len(set(contexts))],
    }  # fmt: skip


async def main() -> None:
    found = {"approvals": await approvals(), "ends": await ends(), "tools": await tools(), "images": await images()}
    found["native"] = await native()
    print(json.dumps(found))


logging.getLogger("a2a_grpc.adapters").setLevel(logging.CRITICAL)  # a run with too many turns is expected
asyncio.run(main())
