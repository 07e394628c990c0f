"""What adapters of frameworks share: the calls of tools that wait for a user, the result of a model, and the past."""

import pytest

from a2a_grpc import Agent, InputRequired, Part, Server, ServerSettings, Turn, connect, data_of, text_of
from a2a_grpc.adapters.calls import Answers, Call, Denied, answers, asked, tell
from a2a_grpc.adapters.past import Said, said_before
from a2a_grpc.adapters.result import Result
from a2a_grpc.parts import Contents, put
from a2a_grpc.wire import Message, Task, TaskArtifactUpdateEvent

DELETE = Call("c-1", "delete", {"path": "a.txt"}, "approval")
MOVE = Call("c-2", "move", {"size": 2**60}, "approval")
LOOK = Call("c-3", "look", {}, "result", "Which date?")


@pytest.mark.parametrize(
    ("calls", "said", "found"),
    [
        ([DELETE], "Yes.", {"c-1": True}),
        ([DELETE], "ok, sure", {"c-1": True}),
        ([DELETE, MOVE], "y", {"c-1": True, "c-2": True}),
        ([DELETE], "no", {"c-1": Denied()}),
        ([DELETE], "No, keep it!", {"c-1": Denied("No, keep it!")}),
        ([DELETE], "yes, but not now", None),
        ([DELETE], "perhaps", None),
        ([DELETE], "", None),
        ([DELETE], True, {"c-1": True}),
        ([DELETE, MOVE], {"c-1": "yes", "c-2": "too large"}, {"c-1": True, "c-2": Denied("too large")}),
        ([DELETE, MOVE], {"c-1": True}, None),
        ([DELETE], {"c-1": 1}, None),
        ([LOOK], "Friday", {"c-3": "Friday"}),
        ([LOOK], {"day": 5}, {"c-3": {"day": 5}}),
        ([LOOK], [Part(raw=b"x", media_type="image/png")], None),
        ([LOOK], {"c-3": None}, {"c-3": None}),
        ([DELETE, LOOK], "yes", None),
        ([DELETE, LOOK], {"c-1": False, "c-3": [1]}, {"c-1": Denied(), "c-3": [1]}),
    ],
)
def test_only_a_clear_yes_allows_a_call(calls: list[Call], said: Contents, found: Answers | None) -> None:
    assert answers(calls, put(said, Message())) == found


def test_a_question_names_each_call_in_words_and_as_data() -> None:
    content = asked([DELETE, MOVE]).content
    assert isinstance(content, list)
    assert text_of(put(content, Message())) == (
        'May the agent call the tool \'delete\' with {"path": "a.txt"}?\n'
        "May the agent call the tool 'move' with {\"size\": 1152921504606846976}?\n"
        "Answer yes or no."
    )
    assert data_of(put(content, Message())) == {
        "calls": [
            {"id": "c-1", "tool": "delete", "arguments": {"path": "a.txt"}, "needs": "approval"},
            {"id": "c-2", "tool": "move", "arguments": '{"size": 1152921504606846976}', "needs": "approval"},
        ]
    }
    question = asked([LOOK]).content
    assert isinstance(question, list)
    assert text_of(put(question, Message())) == "Which date?"


async def test_the_artifact_ends_as_the_last_response_and_later_tasks_know_what_was_said() -> None:
    past: list[Said] = []
    agent = Agent("Model", "Stands for a language model.", output_modes=["*/*"])

    @agent.skill()
    async def run(turn: Turn) -> InputRequired | None:
        past[:] = await said_before(turn, 10)
        result = Result(turn)
        for response in ("Let me see.", "It is ", "It is 5."):
            result.begin()
            await result.piece(response)
            await tell(turn, "called", "look", "c-3")
        match turn.text:
            case "data":
                await result.end({"number": 5})
            case "file":
                result.files.append(Part(raw=b"5", media_type="image/png"))
                await result.end("It is 5.")
            case "changed":
                result.files.append(Part(raw=b"5", media_type="image/png"))
                await result.end("It is five.")
            case _:
                await result.end("It is 5.")
        return None

    settings = ServerSettings(listen="127.0.0.1:0", http_listen="off")
    async with Server(agent, settings) as server, connect(server.grpc_address) as client:
        async with client.stream("How many?", context_id="c") as events:
            pieces = [event async for event in events if isinstance(event, TaskArtifactUpdateEvent)]
        assert [(text_of(piece.artifact), piece.append, piece.last_chunk) for piece in pieces] == [
            ("Let me see.", False, False), ("It is ", False, False), ("It is 5.", False, False), ("", True, True),
        ]  # fmt: skip
        task = events.task
        assert task is not None
        assert (text_of(task), dict(task.history[-1].metadata)) == (
            "It is 5.",
            {"tool": "look", "call": "c-3", "stage": "called"},
        )

        async def parts_of(text: str) -> list[str]:
            task = await client.send(text, context_id="c")
            assert isinstance(task, Task)
            [artifact] = task.artifacts
            return [
                part.text or part.raw.decode() or str(part.data) for part in artifact.parts if str(part) != 'text: ""\n'
            ]

        assert await parts_of("file") == ["It is 5.", "5"]
        assert past == [Said(True, "How many?"), Said(False, "It is 5.")]
        assert await parts_of("changed") == ["It is five.", "5"]
        [shown] = await parts_of("data")
        assert "number" in shown
