"""`a2a-grpc send`: what goes out, what comes back, how it ends."""

import asyncio
import re
from pathlib import Path

import pytest
from google.protobuf import json_format

from a2a_grpc import Agent, Completed, Turn
from a2a_grpc.lifecycle import COMPLETED, WORKING
from a2a_grpc.parts import struct, to_dict
from a2a_grpc.server.events import where_tasks_are
from a2a_grpc.wire import SendMessageRequest
from tests.agent.agents import Gate, agent_of, stored_tasks
from tests.cli.terminal import at, command_in, error_of, objects, run, run_all, run_line, running, script
from tests.client.peers import peering
from tests.harness import Served, eventually, serving
from tests.regressions.faults import reaches

ID = r"[0-9a-f]{8}-[0-9a-f-]{27}"


def state_line(state: str, said: str = "") -> str:
    return rf"{state} {ID}{' ' + re.escape(said) if said else ''}\n"


# -- what goes out


async def test_words_are_one_text_and_the_answer_alone_is_on_standard_output(served: Served) -> None:
    words, one, piped = await asyncio.gather(
        run("send", at(served), "hello", "wide", "world"),
        run("send", at(served), "hello wide world"),
        run("send", at(served), "-", stdin="hello wide\nworld"),
    )
    assert (words.code, one.code, piped.code) == (0, 0, 0)
    assert (words.out, one.out, piped.out) == ("hello wide world\n", "hello wide world\n", "hello wide\nworld\n")
    for done in (words, one, piped):
        assert re.fullmatch(state_line("COMPLETED"), done.err)


async def test_all_that_goes_with_a_message_reaches_the_agent(tmp_path: Path) -> None:
    more = tmp_path / "more.json"
    more.write_text('{"from_file": [1, "two"]}')
    async with peering() as peer:
        done = await run(
            "send", f"--agent={peer.address}", "go", "on", "--no-wait", "--task=t-1", "--context=c-1",
            "--reference=r-1", "--reference=r-2", "-m", "text=hello there", "-m", "number=1.5", "-m", "empty=",
            "-m", "equals=a=b", "-m", '{"object": {"yes": true}}', "-m", f"@{more}", "--accept=text/plain",
            "--accept=image/png", "--idempotency-key=key-1", "--tenant=acme", "-H", "X-Request-Id: r 7",
            "--header=x-other:b",
        )  # fmt: skip
        assert (done.code, done.out) == (0, "")
        [call] = peer.calls
    assert call.rpc == "SendMessage"
    request: SendMessageRequest = call.request
    assert (request.message.task_id, request.message.context_id, request.tenant) == ("t-1", "c-1", "acme")
    assert [part.text for part in request.message.parts] == ["go on"]
    assert list(request.message.reference_task_ids) == ["r-1", "r-2"]
    assert request.configuration.return_immediately
    assert list(request.configuration.accepted_output_modes) == ["text/plain", "image/png"]
    assert request.metadata == struct(
        {"text": "hello there", "number": 1.5, "empty": "", "equals": "a=b", "object": {"yes": True},
         "from_file": [1, "two"]}
    ), to_dict(request.metadata)  # fmt: skip
    assert call.values("idempotency-key") == ["key-1"]
    assert call.values("x-request-id") == ["r 7"]
    assert call.values("x-other") == ["b"]


async def test_metadata_chooses_the_skill() -> None:
    agent = Agent("Two", "Does two things.", default_skill="first")

    @agent.skill("first")
    async def first(turn: Turn) -> str:
        return "the first"

    @agent.skill("second")
    async def second(turn: Turn) -> str:
        return "the second"

    async with serving(agent) as served:
        done, unknown = await asyncio.gather(
            run("send", at(served), "-m", "skill=second", "go"), run("send", at(served), "-m", "skill=third", "go")
        )
    assert (done.code, done.out) == (0, "the second\n")
    assert "third" in error_of(unknown, 6)


async def test_the_same_idempotency_key_twice_is_one_task(served: Served) -> None:
    first = await run("send", at(served), "--idempotency-key=k", "-o", "json", "hello")
    again, other = await asyncio.gather(
        run("send", at(served), "--idempotency-key=k", "-o", "json", "hello"),
        run("send", at(served), "--idempotency-key=k", "something else"),
    )
    ids = [done.code or objects(done.out)[0]["task"]["id"] for done in (first, again)]
    assert ids[0] == ids[1]
    assert "idempotency" in error_of(other, 6)
    assert await stored_tasks(served) == 1


# -- how it ends


ENDS = {
    "complete": (0, "COMPLETED"),
    "fail": (1, "FAILED"),
    "reject": (1, "REJECTED"),
    "input": (7, "INPUT_REQUIRED"),
    "auth": (7, "AUTH_REQUIRED"),
}


@pytest.mark.parametrize("verb", ["send", "stream"])
async def test_the_exit_code_tells_whether_the_agent_did_it_and_a_line_tells_the_state(
    served: Served, verb: str
) -> None:
    done = await run_all(*((verb, at(served), "-d", script({end: "so be it"})) for end in ENDS))
    for (end, (code, state)), ended in zip(ENDS.items(), done, strict=True):
        assert ended.code == code, end
        assert re.search(rf"^{state} {ID}\b", ended.err, re.MULTILINE), end
        assert "so be it" in ended.out + ended.err, end


@pytest.mark.parametrize("verb", ["send", "stream"])
async def test_an_agents_bare_message_is_the_answer(served: Served, verb: str) -> None:
    done = await run(verb, at(served), "-d", script({"message": "as you say"}))
    assert (done.code, done.out, done.err) == (0, "as you say\n", "")


async def test_every_artifact_is_printed_and_a_text_that_came_in_chunks_is_whole(served: Served) -> None:
    done = await run(
        "send", at(served), "-d", script({"chunks": {"id": "a", "count": 3}}, {"artifact": {"id": "b", "text": "end"}})
    )
    assert (done.code, done.out) == (0, "chunk 0 chunk 1 chunk 2 \nend\n")


async def test_what_an_agent_says_as_it_completes_is_the_answer_where_it_made_nothing() -> None:
    """As for `text_of` and for RemoteAgent."""

    async def work(turn: Turn) -> str:
        raise Completed("nothing to do")

    async with serving(agent_of(work)) as served:
        done = await run("send", at(served), "go")
    assert (done.code, done.out) == (0, "nothing to do\n")


@pytest.mark.long
async def test_a_task_that_somebody_cancels_ends_the_waiting_with_exit_code_1(served: Served) -> None:
    async with running("send", at(served), "-d", script({"sleep": 60})) as sending:
        task_id = await only_task(served)
        assert (await run("cancel", at(served), task_id)).code == 0
        done = await sending.finished()
    assert (done.code, done.out, done.err) == (1, "", f"CANCELED {task_id}\n")


async def only_task(served: Served) -> str:
    """The id of the one task, once it is there and at work."""
    found: list[str] = []

    async def check() -> None:
        done = await run("list", at(served), "-o", "json")
        found[:] = [task["id"] for task in objects(done.out)]
        assert len(found) == 1

    await eventually(check, within_s=30)
    await reaches(served, found[0], WORKING)
    return found[0]


async def test_no_wait_leaves_at_once_and_the_task_goes_on() -> None:
    gate = Gate()

    async def work(turn: Turn) -> str:
        await gate.passed()
        return "done"

    async with serving(agent_of(work)) as served:
        told, as_json = await asyncio.gather(
            run("send", at(served), "--no-wait", "go"), run("send", at(served), "--no-wait", "-o", "json", "go")
        )
        assert (told.code, told.out, as_json.code) == (0, "", 0)
        assert re.fullmatch(rf"(SUBMITTED|WORKING) {ID}\n", told.err)
        [element] = objects(as_json.out)
        assert element["task"]["status"]["state"] in ("TASK_STATE_SUBMITTED", "TASK_STATE_WORKING")
        gate.opened.set()
        await reaches(served, element["task"]["id"], COMPLETED)
        await reaches(served, told.err.split()[1], COMPLETED)


async def test_out_of_time_is_exit_code_5_and_the_task_goes_on() -> None:
    gate = Gate()

    async def work(turn: Turn) -> str:
        await gate.passed()
        return "done"

    async with serving(agent_of(work)) as served:
        sent, streamed = await asyncio.gather(
            run("send", at(served), "--timeout=3", "go"), run("stream", at(served), "--timeout=3", "go")
        )
        gate.opened.set()
        for done in (sent, streamed):
            assert (done.code, done.out) == (5, "")
            *_, how, error = done.err.splitlines()
            assert error == "Error: not done within 3 s"
            resumed = await run_line(command_in(how))
            assert (resumed.code, resumed.out) == (0, "done\n")


# -- questions


@pytest.mark.parametrize("verb", ["send", "stream"])
async def test_a_question_is_shown_with_the_command_that_answers_it(served: Served, verb: str) -> None:
    asked = await run(verb, at(served), "-d", script({"input": "Which language?"}))
    assert (asked.code, asked.out) == (7, "")
    assert re.search(state_line("INPUT_REQUIRED", "Which language?"), asked.err)
    answered = await run_line(command_in(asked.err))
    assert (answered.code, answered.out) == (0, "ANSWER\n")
    assert re.fullmatch(state_line("COMPLETED"), answered.err)
    assert answered.err.split()[1] in asked.err
    assert await stored_tasks(served) == 1


async def test_a_task_that_waits_for_authentication_is_shown_with_the_commands_that_go_on(served: Served) -> None:
    asked = await run("send", at(served), "-d", script({"auth": "Sign in at the door."}))
    assert asked.code == 7
    done, by_itself = asked.err.splitlines()[-2:]
    assert done.startswith("once that is done: a2a-grpc send ")
    assert done.endswith(" 'DONE'")
    assert by_itself.startswith("if the agent goes on by itself: a2a-grpc subscribe ")


def test_a_start_names_the_schema_of_the_store_and_no_secret() -> None:
    url = "postgresql://user:secret@db:5432/tasks?sslmode=require&schema=poet"
    assert where_tasks_are(url) == "tasks are kept in postgresql://db:5432/tasks, schema poet"


async def test_the_command_that_answers_names_the_agent_and_the_tenant_as_they_were_given(
    served: Served, tmp_path: Path
) -> None:
    folder = tmp_path / "agents of mine & yours"
    folder.mkdir()
    card = folder / "card.json"
    card.write_text(card_of(served))
    asked = await run("send", f"--agent={card}", "--tenant=acme $1", "-d", script({"input": "Which language?"}))
    assert asked.code == 7
    answered = await run_line(command_in(asked.err))
    assert (answered.code, answered.out) == (0, "ANSWER\n"), answered.err


def card_of(served: Served) -> str:
    return json_format.MessageToJson(served.server.card)


# -- agents that do not stream


async def test_send_waits_for_an_agent_that_does_not_stream() -> None:
    gate = Gate()
    agent = Agent("Plain", "Answers when it is done.", streaming=False)

    @agent.skill()
    async def work(turn: Turn) -> str:
        await gate.passed()
        return "done"

    async with serving(agent) as served:
        async with running("send", at(served), "go") as sending:
            await gate.reached.wait()
            gate.opened.set()
            done = await sending.finished()
        assert (done.code, done.out) == (0, "done\n")
        assert re.fullmatch(state_line("COMPLETED"), done.err)
        assert await stored_tasks(served) == 1
        done = await run("stream", at(served), "go")
        assert (done.code, done.out) == (0, "done\n")
        assert await stored_tasks(served) == 2
