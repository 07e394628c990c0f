"""A remote agent as a function that a language model calls: what `as_tool` of each framework is made of."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

import pytest

from a2a_grpc import Agent, Part, RemoteAgent, Server, ServerSettings, Turn
from a2a_grpc.adapters.model_text import description_of, name_of
from a2a_grpc.adapters.tool import AskError, Progress, RemoteTool, remote_tool
from a2a_grpc.agent.outcome import AuthRequired, Failed, InputRequired
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import AgentCard
from tests.harness import eventually
from tests.ports import free_address


class Remote:
    """Does what the text of the message says."""

    def __init__(self) -> None:
        self.contexts: list[str] = []
        self.is_at_work = self.was_canceled = False
        self.agent = Agent("Büro: Paris", "Answers questions.", output_modes=["*/*"])
        self.agent.skill("answer", description="Answers one question.")(self.answer)

    async def answer(self, turn: Turn) -> AsyncIterator[str]:
        self.contexts.append(turn.context_id)
        match turn.text:
            case "fail":
                raise Failed("no paper")
            case "sign in":
                raise AuthRequired("Sign in at https://login.example")
            case "which":
                yield "I know two."
                raise InputRequired(["Which one?", Part(text=" Say it.")])
            case "wait":
                self.is_at_work = True
                try:
                    await asyncio.Event().wait()
                finally:
                    self.was_canceled = turn.canceled
            case "files":
                await turn.artifact([{"a": 1}, Part(raw=b"xyz", filename="x.csv", media_type="text/csv")])
                await turn.artifact(Part(url="https://files.example/y"))
            case text:
                await turn.status("thinking")
                await turn.artifact({"progress": 0.5}, id="progress")
                yield f"said {text}"
                yield "!"


@asynccontextmanager
async def tool_of(remote: Remote) -> AsyncIterator[RemoteTool]:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(remote.agent, settings) as server:
        yield remote_tool(server.grpc_address, name="paris", description="Knows Paris.")


async def test_a_model_gets_the_answer_the_question_or_the_reason_of_a_remote_agent() -> None:
    remote = Remote()
    async with tool_of(remote) as tool:
        seen: list[Progress] = []

        async def note(progress: Progress) -> None:
            seen.append(progress)

        assert await tool.ask("hello", conversation="c", on_progress=note) == "said hello!"
        assert seen == [
            Progress("status", "thinking"),
            Progress("done", done=0.5),
            Progress("chunk", "said hello"),
            Progress("chunk", "!"),
        ]
        assert await tool.ask("files") == '{"a": 1}\n[file x.csv, text/csv, 3 bytes]\n[file https://files.example/y]'

        asked = await tool.ask("which", conversation="c")
        assert asked.startswith("I know two.\nThe agent 'paris' asks: Which one? Say it.\nTo answer, call this tool")
        task_id = asked.partition('task_id="')[2].partition('"')[0]
        assert await tool.ask("the first", task_id, conversation="c") == "I know two.\nsaid the first!"
        assert "sign in or to authorize something: Sign in at https://login.example" in await tool.ask("sign in")
        with pytest.raises(AskError, match="The agent 'paris' ended in FAILED: no paper"):
            await tool.ask("fail", conversation="d")
        with pytest.raises(AskError, match=r"The agent 'paris' refused the message: .*nobody"):
            await tool.ask("hello", "nobody")

        first, _, third, fourth, _, fifth = remote.contexts
        assert first == third == fourth != fifth
        assert await tool.ask("again", call_id="1") == await tool.ask("again", call_id="1") == "said again!"
        assert len(remote.contexts) == 7
    with pytest.raises(AskError, match="cannot be reached now"):
        await remote_tool(RemoteAgent(free_address(), connect_timeout_s=0.1), name="x", description="x").ask("hello")


async def test_a_run_that_is_canceled_cancels_the_task_of_the_remote_agent() -> None:
    remote = Remote()
    async with tool_of(remote) as tool:
        asking = asyncio.create_task(tool.ask("wait"))

        def works() -> None:
            assert remote.is_at_work

        await eventually(works)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert remote.was_canceled


async def test_name_and_description_come_from_the_card_in_the_form_that_models_allow() -> None:
    settings = ServerSettings(listen="127.0.0.1:0", http_listen="127.0.0.1:0")
    async with Server(Remote().agent, settings) as server:
        assert server.http_url is not None
        tool = await asyncio.to_thread(remote_tool, server.http_url)
        assert (tool.name, tool.description) == (
            "Buro_Paris",
            "Answers questions.\n- Answer: Answers one question.",
        )
        remote = RemoteAgent(server.http_url)
        with pytest.raises(ConfigurationError, match="is not known here"):
            remote_tool(remote)
        await remote.card()
        assert remote_tool(remote, name="other").name == "other"
    with pytest.raises(ConfigurationError, match="is an address, which has no card"):
        await asyncio.to_thread(remote_tool, "127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="must be 1 to 64"):
        remote_tool(remote, name="with space")
    assert [name_of(name) for name in ("9 lives", "日本", "a" * 70)] == ["agent_9_lives", "agent", "a" * 64]
    assert len(description_of(AgentCard(description="x" * 5000))) == 1024


def test_an_adapter_whose_framework_is_not_installed_names_its_extra() -> None:
    with pytest.raises(ImportError, match=r"langchain_core is not installed; .*'a2a-grpc\[langgraph\]'"):
        import_module("a2a_grpc.adapters.langgraph")
