"""`-o json`: one ProtoJSON object a line, which reads back as the message it is; nothing else on standard output."""

import asyncio
from typing import Any

from google.protobuf import json_format

from a2a_grpc.parts import text_of
from a2a_grpc.wire import SendMessageResponse, StreamResponse, Task
from tests.cli.terminal import Done, at, objects, run, script
from tests.harness import Served

EVERYTHING = script(
    {"status": "wörking\non it"},
    {"chunks": {"count": 3, "text": "chunk\n{i} "}},
    {"artifact": {"id": "p", "name": "progress", "data": {"progress": 0.5}}},
    {"artifact": {"id": "f", "name": "file", "raw_base64": "AP8="}},
    {"artifact": {"id": "u", "url": "https://files.example/a"}},
    {"complete": "done"},
)


def read(done: Done, kind: type[Any]) -> list[Any]:
    """The lines as messages of this kind; no field may be unknown."""
    return [json_format.ParseDict(line, kind()) for line in objects(done.out)]


async def test_every_line_of_every_verb_reads_back_as_the_message_it_is(served: Served) -> None:
    streamed = await run("stream", at(served), "-o", "json", "-d", EVERYTHING)
    elements = read(streamed, StreamResponse)
    task_id = elements[0].task.id
    working = await served.start({"sleep": 60})
    sent, begun, message, got, listed, waited, polled, subscribed, resumed, canceled = await asyncio.gather(
        run("send", at(served), "-o", "json", "-d", EVERYTHING),
        run("send", at(served), "-o", "json", "--no-wait", "-d", script({"sleep": 60})),
        run("send", at(served), "-o", "json", "-d", script({"message": "hello\nthere"})),
        run("get", at(served), "-o", "json", task_id),
        run("list", at(served), "-o", "json", "--artifacts", "--state=completed", "--limit=1"),
        run("wait", at(served), "-o", "json", task_id),
        run("wait", at(served), "-o", "json", "--poll=1", task_id),
        run("subscribe", at(served), "-o", "json", task_id),
        run("subscribe", at(served), "-o", "json", "--after=3", task_id),
        run("cancel", at(served), "-o", "json", working.id),
    )
    everyone = (streamed, sent, begun, message, got, listed, waited, polled, subscribed, resumed, canceled)
    assert [done.code for done in everyone] == [0] * 11
    assert [done.err for done in everyone if done is not listed] == [""] * 10

    assert [element.WhichOneof("payload") for element in elements] == [
        "task", "status_update", "status_update", *["artifact_update"] * 6, "status_update",
    ]  # fmt: skip
    task = await served.get(task_id)
    assert read(got, Task) == read(waited, Task) == read(polled, Task) == [task]
    assert read(subscribed, StreamResponse) == [StreamResponse(task=task)]
    assert read(resumed, StreamResponse) == elements[3:]
    [answer] = read(sent, SendMessageResponse)
    assert [text_of(artifact) for artifact in answer.task.artifacts] == [text_of(made) for made in task.artifacts]
    assert text_of(read(message, SendMessageResponse)[0].message) == "hello\nthere"
    assert read(begun, SendMessageResponse)[0].task.id
    assert len(read(listed, Task)) == 1
    assert [one.id for one in read(canceled, Task)] == [working.id]


async def test_failures_and_questions_are_told_by_lines_and_exit_codes_alone(served: Served) -> None:
    failed, asked, refused, empty, polled = await asyncio.gather(
        run("stream", at(served), "-o", "json", "-d", script({"fail": "out of ink"})),
        run("send", at(served), "-o", "json", "-d", script({"input": "Which?"})),
        run("get", at(served), "-o", "json", "no-such-task"),
        run("list", at(served), "-o", "json", "--context=none"),
        run("send", at(served), "-o", "json", "-d", script({"reject": "no"})),
    )
    assert (failed.code, failed.err) == (1, "")
    assert read(failed, StreamResponse)[-1].status_update.status.state == 4
    assert (asked.code, asked.err) == (7, "")
    assert read(asked, SendMessageResponse)[0].task.status.state == 6
    assert (refused.code, refused.out) == (6, "")
    assert refused.err.startswith("Error: task 'no-such-task' was not found")
    assert (empty.code, empty.out) == (0, "")
    assert (polled.code, len(objects(polled.out))) == (1, 1)


async def test_json_is_the_same_at_a_terminal(served: Served) -> None:
    done = await run("stream", at(served), "-o", "json", "-d", EVERYTHING, terminal=True)
    assert done.code == 0
    assert "\x1b" not in done.out
    assert [element.WhichOneof("payload") for element in read(done, StreamResponse)][-1] == "status_update"
