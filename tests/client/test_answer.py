"""The text of an agent's answer: `stream` gives in pieces what `run` gives at once, whatever the events are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from hypothesis import example, given, settings
from hypothesis import strategies as st

from a2a_grpc import Agent, Artifact, Completed, Message, Part, RemoteAgent, Task, Turn, text_of
from a2a_grpc.client.pieces import Pieces
from a2a_grpc.lifecycle import COMPLETED, WORKING, Event, element_of, fold
from a2a_grpc.parts import value
from a2a_grpc.wire import TaskArtifactUpdateEvent, TaskStatus
from tests.cli.terminal import run
from tests.client.foreign import Foreign, Play, breaks_off, chunk, foreign, plays, status, task
from tests.client.peers import ANSWERS, Failure, Peer, peering
from tests.client.test_resume import SOON
from tests.harness import serving

TEXTS = st.sampled_from(["a", "b", "ab", "é\n", " ", ""])


def artifact(name: str, *texts: str, append: bool = False) -> TaskArtifactUpdateEvent:
    made = Artifact(artifact_id=name, parts=[Part(text=text) for text in texts])
    return TaskArtifactUpdateEvent(task_id="t-1", context_id="c-1", artifact=made, append=append)


def whole(events: Sequence[Event], state: Any = None) -> Task:
    """The task that the events make, as a snapshot of it."""
    made = fold(task(WORKING), [(element_of(event), None) for event in events])
    if state is not None:
        made.status.CopyFrom(TaskStatus(state=state))
    return made


def joined(events: Sequence[Event]) -> str:
    pieces = Pieces()
    return "".join(map(pieces.text, events))


# -- the law


@dataclass(frozen=True)
class Scene:
    """A task's events, and how a server of another make sends them."""

    events: tuple[Event, ...]
    begins_with_task: bool
    cut_after: int | None
    """Events before the stream is cut; the rest comes by a subscription. None for no cut."""
    missed: int
    """Events that the snapshot after the cut has and no stream sends."""

    def scripts(self) -> dict[str, Any]:
        first: list[Event] = [task(WORKING)] if self.begins_with_task else []
        end = whole(self.events)
        if self.cut_after is None or self.cut_after >= len(self.events) - 1:
            return {"sends": [plays(*first, *self.events)], "gets": [end]}
        seen = self.cut_after + self.missed
        sent = breaks_off(grpc.StatusCode.UNAVAILABLE, *first, *self.events[: self.cut_after])
        going_on: Play = plays(whole(self.events[:seen]), *self.events[seen:])
        return {"sends": [sent], "subscriptions": [going_on], "gets": [end]}


artifacts = st.builds(artifact, st.sampled_from("xyz"), TEXTS, append=st.booleans())
updates = artifacts | st.builds(lambda said: status(WORKING, said), TEXTS)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    events = (*draw(st.lists(updates, max_size=6)), status(COMPLETED, draw(TEXTS)))
    begins = draw(st.booleans())
    cut = draw(st.none() | st.integers(0 if begins else 1, len(events)))
    return Scene(events, begins, cut, draw(st.integers(0, 2)))


async def told(scene: Scene) -> tuple[str, str]:
    """What `stream` and `run` give of a scene."""
    async with foreign(**scene.scripts()) as agent, RemoteAgent(agent.address, **SOON) as remote:
        pieces = [piece async for piece in remote.stream("go")]
    async with foreign(**scene.scripts()) as agent, RemoteAgent(agent.address, **SOON) as remote:
        return "".join(pieces), await remote.run("go")


@settings(deadline=None)
@example(Scene((status(COMPLETED, "the end"),), False, None, 0))
@example(Scene((artifact("x", "one"), artifact("y", "two"), status(COMPLETED, "no")), True, 1, 1))
@given(scene=scenes())
async def test_the_pieces_of_a_stream_are_the_answer_of_a_run(scene: Scene) -> None:
    streamed, ran = await told(scene)
    assert streamed == ran
    if not takes_back(scene.events):
        assert ran == text_of(whole(scene.events))


def takes_back(events: Sequence[Event]) -> bool:
    """Whether an event changes text that came before, or adds to an artifact that is not the last one."""
    before = ""
    for place in range(1, len(events)):
        now = "\0".join(map(text_of, whole(events[:place]).artifacts))  # "a", "a" and then "aab", "a" adds to the first
        if not now.startswith(before):
            return True
        before = now
    return False


# -- the cases that began it


async def pieces(agent: RemoteAgent, **options: Any) -> list[str]:
    return [piece async for piece in agent.stream("go", **options)]


async def both(agent: Foreign, **options: Any) -> str:
    """The answer by `stream`, after it was made sure that `run` gives the same."""
    async with RemoteAgent(agent.address, **SOON) as remote:
        streamed = "".join(await pieces(remote, **options))
        assert await remote.run("go", **options) == streamed
    return streamed


async def test_a_stream_that_is_one_finished_task_gives_the_text_of_that_task() -> None:
    async with foreign(sends=[plays(task(COMPLETED, "one ", "two"))] * 2) as agent:
        assert await both(agent) == "one two"


async def test_an_end_that_carries_the_text_gives_it() -> None:
    play = plays(task(WORKING), status(COMPLETED, "all done"))
    async with foreign(sends=[play] * 2) as agent:
        assert await both(agent) == "all done"


async def test_an_artifact_for_each_token_is_one_text() -> None:
    tokens = [artifact(f"a-{place}", token) for place, token in enumerate(("Hel", "lo", " world"))]
    async with foreign(sends=[plays(task(WORKING), *tokens, status(COMPLETED))] * 2) as agent:
        assert await both(agent) == "Hello world"


async def test_an_artifact_that_is_sent_again_with_more_text_gives_the_rest() -> None:
    grown = [artifact("a", text) for text in ("Hel", "Hello", "Hello world")]
    async with foreign(sends=[plays(task(WORKING), *grown, status(COMPLETED))] * 2) as agent:
        assert await both(agent) == "Hello world"


async def test_a_stream_without_a_task_gives_what_only_the_task_has() -> None:
    play, end = plays(chunk("one ", append=False), status(COMPLETED)), task(COMPLETED, "one ", "two")
    async with foreign(sends=[play] * 2, gets=[end]) as agent:
        assert await both(agent) == "one two"


async def test_a_send_that_is_repeated_gives_what_was_made_meanwhile() -> None:
    def answer() -> Agent:
        agent = Agent("Writer", "Writes.")

        @agent.skill()
        async def work(turn: Turn) -> None:
            await turn.artifact("one ", id="a")
            await turn.artifact("two", id="b")
            raise Completed("no text of the answer")

        return agent

    async with serving(answer()) as served, RemoteAgent(served.server.grpc_address) as agent:
        key: Any = {"idempotency_key": "k-1"}
        assert "".join(await pieces(agent, **key)) == "one two"
        assert "".join(await pieces(agent, **key)) == "one two"
        assert await agent.run("go", **key) == "one two"


async def test_a_send_whose_answer_was_lost_gives_the_text_of_the_task_that_it_began() -> None:
    elements = [element_of(event) for event in (task(WORKING, "one "), chunk("two"), status(COMPLETED))]
    lost = Failure(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    peer = Peer(failures=[lost, None, lost, None], answers={**ANSWERS, "SendStreamingMessage": elements})
    async with peering(peer), RemoteAgent(peer.address, **SOON) as agent:
        assert "".join(await pieces(agent)) == "one two"
        assert await agent.run("go") == "one two"
    assert len(peer.of("SendStreamingMessage")) == 4


async def test_text_of_a_task_is_that_of_all_its_artifacts_in_their_order() -> None:
    events: list[Event] = [artifact("x", "1"), artifact("y", "2"), artifact("x", "3", append=True)]
    assert text_of(whole(events)) == "132"
    assert text_of(task(COMPLETED, said="said")) == "said"
    assert text_of(task(COMPLETED, "made", said="said")) == "made"


# -- pieces


def test_what_an_agent_takes_back_is_followed_by_what_it_says_instead() -> None:
    assert joined([artifact("x", "draft"), artifact("x", "final")]) == "draftfinal"
    assert joined([artifact("x", "1"), artifact("y", "2"), artifact("x", "3", append=True)]) == "123"


def test_a_snapshot_adds_what_is_new_however_its_parts_are_cut() -> None:
    before = [artifact("x", "Hel"), artifact("x", "lo", append=True)]
    for parts in (("Hello!",), ("H", "ello!"), ("Hel", "lo", "!"), ("Hel", "l", "o!")):
        snapshot = whole([artifact("x", *parts)])
        assert joined([*before, snapshot]) == "Hello!"
        assert joined([*before, snapshot, snapshot]) == "Hello!"


def test_parts_that_are_no_text_are_given_once_and_kept_as_digests() -> None:
    picture, numbers = Part(raw=b"x" * 100_000, filename="p.png"), Part(data=value({"a": 1}))
    made = Artifact(artifact_id="x", parts=[picture, Part(text="see "), numbers, Part(text="that")])
    first = TaskArtifactUpdateEvent(task_id="t-1", artifact=Artifact(artifact_id="x", parts=made.parts[:2]))
    again = TaskArtifactUpdateEvent(task_id="t-1", artifact=made)
    pieces = Pieces()
    assert [part for _, parts in pieces.parts(first) for part in parts] == list(made.parts[:2])
    assert [part for _, parts in pieces.parts(again) for part in parts] == list(made.parts[2:])
    other = TaskArtifactUpdateEvent(task_id="t-1", artifact=Artifact(artifact_id="x", parts=made.parts[1:]))
    assert [part for _, parts in pieces.parts(other) for part in parts] == list(made.parts[1:])


def test_a_bare_message_is_the_answer() -> None:
    assert joined([Message(parts=[Part(text="a"), Part(text="b")])]) == "ab"


def test_what_a_task_says_before_it_has_completed_is_not_its_answer() -> None:
    assert joined([task(WORKING, said="busy"), status(WORKING, "still"), status(COMPLETED)]) == ""


# -- the command line


async def test_both_verbs_of_the_command_line_print_the_same_text() -> None:
    scenes: dict[str, list[Event]] = {
        "the end\n": [status(COMPLETED, "the end")],
        "Hello\n": [artifact("x", "Hel"), artifact("x", "Hello"), status(COMPLETED, "no")],
        "one\ntwo\n": [artifact("x", "one"), artifact("y", "two"), status(COMPLETED)],
    }
    for out, events in scenes.items():
        async with foreign(sends=[plays(task(WORKING), *events)] * 2) as agent:
            for verb in ("send", "stream"):
                done = await run(verb, "--agent", agent.address, "go")
                assert (done.code, done.out) == (0, out), (verb, done)
