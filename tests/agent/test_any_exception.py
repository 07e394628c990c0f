"""Exceptions outside of `Exception`, raised by agent code: the task fails, the caller gets an answer, the server lives.

KeyboardInterrupt and SystemExit would end an event loop. asyncio does that when a task ends with them, so each case
goes through a server of this process: a case that is not mended ends the test run.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Message, Turn
from a2a_grpc.lifecycle import COMPLETED, FAILED
from a2a_grpc.parts import text_of
from tests.agent.agents import GENERIC, agent_of, result
from tests.covers import covers
from tests.harness import Program, elements, refusal, request, serving


class PanicException(BaseException):
    """What pyo3 raises for a panic of an extension written in Rust."""


KINDS = [PanicException, GeneratorExit, KeyboardInterrupt, SystemExit, asyncio.CancelledError]


async def coroutine(turn: Turn, kind: type[BaseException]) -> None:
    raise kind("the secret")


async def first_piece(turn: Turn, kind: type[BaseException]) -> None:
    await turn.artifact("half", id="draft")
    raise kind("the secret")


async def thread(turn: Turn, kind: type[BaseException]) -> None:
    def work() -> None:
        raise kind("the secret")

    await turn.in_thread(work)


async def generator_in_thread(turn: Turn, kind: type[BaseException]) -> None:
    def pieces() -> Any:
        yield 1
        raise kind("the secret")

    await turn.in_thread(lambda: list(pieces()))


async def group(turn: Turn, kind: type[BaseException]) -> None:
    raise BaseExceptionGroup("the secret", [kind("the secret"), ValueError("the secret")])


def coming_from(where: Callable[[Turn, type[BaseException]], Any], kind: type[BaseException]) -> Callable[[Turn], Any]:
    async def handler(turn: Turn) -> str:
        if turn.text == "well":
            return "well"
        await where(turn, kind)
        raise AssertionError("not raised")

    return handler


def yielding(kind: type[BaseException]) -> Callable[[Turn], Any]:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "one"
        if turn.text != "well":
            raise kind("the secret")

    return handler


WAYS = [coroutine, first_piece, thread, generator_in_thread, group]


def handlers(kind: type[BaseException]) -> list[Callable[[Turn], Any]]:
    return [*[coming_from(way, kind) for way in WAYS], yielding(kind)]


@covers("ERR-7")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_an_exception_of_any_kind_fails_the_task_and_the_server_goes_on(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    for handler in handlers(kind):
        async with serving(agent_of(handler)) as served, asyncio.timeout(60):
            for sent in (served.send(request()), elements(served.stream(request()))):
                got = await sent
                task = got.task if hasattr(got, "task") else await served.get(got[0].task.id)
                assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
                assert "secret" not in str(got)
                assert any(task.id in record.getMessage() for record in caplog.records if record.exc_info)
            assert (await served.send(request("well"))).task.status.state == COMPLETED


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_an_exception_of_any_kind_in_a_skill_that_answers_with_a_message_is_an_internal_error(
    kind: type[BaseException],
) -> None:
    for handler in (*handlers(kind)[:1], *handlers(kind)[2:]):
        async with serving(agent_of(handler, answers="message")) as served, asyncio.timeout(60):
            for call in (served.send(request()), served.stream(request())):
                refused = await refusal(call)
                assert (refused.code, "secret" in refused.text) == (grpc.StatusCode.INTERNAL, False)
            assert text_of((await served.send(request("well"))).message) in ("well", "one")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_an_exception_of_any_kind_in_a_validator_or_a_router_is_an_internal_error(
    kind: type[BaseException],
) -> None:
    def check(message: Message) -> None:
        if text_of(message) == "validator":
            raise kind("the secret")

    agent = Agent("Worker", "Does the work of one test.")
    for skill in ("one", "two"):

        @agent.skill(skill, validate=check)
        async def work(turn: Turn) -> str:
            return "well"

    @agent.router
    def route(message: Message) -> str:
        if text_of(message) == "router":
            raise kind("the secret")
        return "one"

    async with serving(agent) as served, asyncio.timeout(60):
        for text in ("router", "validator"):
            for call in (served.send(request(text)), served.stream(request(text))):
                refused = await refusal(call)
                assert (refused.code, "secret" in refused.text) == (grpc.StatusCode.INTERNAL, False)
        assert (await served.send(request("well"))).task.status.state == COMPLETED


async def child(kind: type[BaseException]) -> None:
    raise kind("the secret")


async def awaits_task(turn: Turn, kind: type[BaseException]) -> None:
    await asyncio.create_task(child(kind))


async def gathers(turn: Turn, kind: type[BaseException]) -> None:
    await asyncio.gather(child(kind), asyncio.sleep(0))


async def awaits_future(turn: Turn, kind: type[BaseException]) -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, future.set_exception, kind("the secret"))
    await future


def yielding_then_awaiting(kind: type[BaseException]) -> Callable[[Turn], Any]:
    async def handler(turn: Turn) -> AsyncIterator[str]:
        yield "one"
        if turn.text != "well":
            await asyncio.create_task(child(kind))

    return handler


@pytest.mark.parametrize("kind", [PanicException, GeneratorExit], ids=lambda kind: kind.__name__)
async def test_an_exception_of_any_kind_in_a_task_that_the_handler_awaits_fails_its_task(
    kind: type[BaseException], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ways = [coming_from(way, kind) for way in (awaits_task, gathers, awaits_future)]
    for number, handler in enumerate([*ways, yielding_then_awaiting(kind)]):
        store = f"sqlite:///{tmp_path}/{number}.db"  # to write the end of a task the run has to await
        async with serving(agent_of(handler), store=store) as served, asyncio.timeout(60):
            task = (await served.send(request())).task
            assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
            failed = [record for record in caplog.records if f"handler failed task={task.id}" in record.getMessage()]
            assert len(failed) == 1
            assert Path(__file__).name in failed[0].getMessage()
            assert failed[0].exc_info
            assert (await served.send(request("well"))).task.status.state == COMPLETED


async def test_a_handler_goes_on_after_a_task_that_it_awaits_has_raised_generator_exit() -> None:
    async def handler(turn: Turn) -> str:
        with pytest.raises(RuntimeError, match="GeneratorExit") as raised:
            await asyncio.create_task(child(GeneratorExit))
        await asyncio.sleep(0)
        assert isinstance(raised.value.__cause__, GeneratorExit)
        return "caught"

    assert text_of((await result(handler)).artifacts[0]) == "caught"


AGENT = """
import asyncio
from a2a_grpc import Agent, Turn
from a2a_grpc.cli import serve_command

agent = Agent("Quitter", "Tries to end its program.")

@agent.skill()
async def quit(turn: Turn) -> str:
    if turn.text == "well":
        return "well"
    kind = {"exit": SystemExit, "interrupt": KeyboardInterrupt}[turn.text]
    async def leave() -> None:
        raise kind
    child = asyncio.create_task(leave())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(child.result)
    await child
    return "not raised"

serve_command(agent)
"""


async def test_a_task_that_a_handler_began_cannot_end_the_program_and_a_signal_drains_it(tmp_path: Path) -> None:
    path = tmp_path / "quitter.py"
    path.write_text(AGENT)
    async with Program.server(str(path)) as program, grpc.aio.insecure_channel(program.address) as channel:
        from a2a_grpc.wire import A2AServiceStub
        from tests.harness import V1

        stub: Any = A2AServiceStub(channel)
        for text in ("exit", "interrupt"):
            task = (await stub.SendMessage(request(text), metadata=V1)).task
            assert (task.status.state, text_of(task.status.message)) == (FAILED, GENERIC)
        assert (await stub.SendMessage(request("well"), metadata=V1)).task.status.state == COMPLETED
        program.process.send_signal(signal.SIGTERM)
        assert await program.until("draining") == {"event": "draining", "signal": "SIGTERM"}
        assert await program.process.wait() == 0
