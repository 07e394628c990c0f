"""The agent of the simulations: plays a script, one letter a step, and writes down what it does."""

import asyncio
from collections.abc import AsyncIterator, Callable

from a2a_grpc import Agent, Failed, InputRequired, Turn
from a2a_grpc.parts import text_of
from a2a_grpc.wire import Message

CHECKPOINT = "checkpoint-"
POUR = "pour"
ANSWERED = "answered by "
GIVEN = "given by a step: "


def make_agent(*, resumable: bool, note: Callable[[int, Turn, str], None], number: Callable[[], int]) -> Agent:
    """An agent whose messages are scripts. `number` counts runs, `note` takes what they do.

    c  a chunk of the checkpoint artifact, or a piece of the stream; t  a status; z  0.1 s of work;
    s  a step, whose function gives another result each time; q  a question, answered by any message.
    At the end:  .  completed, i  the next message begins a new turn, f  failed.

    A task that begins with a p is poured: pieces are yielded, not stored one by one, and nothing is asked.
    """
    agent = Agent("Player", "Plays scripts.", resumable=resumable)

    @agent.router
    def route(message: Message) -> str:
        return POUR if text_of(message).startswith("p") else "play"

    async def act(turn: Turn, step: str, run: int) -> None:
        if step == "t":
            await turn.status("still at it")
            note(run, turn, "status stored")
        elif step == "z":
            await asyncio.sleep(0.1)
            note(run, turn, "worked")
        elif step == "s":

            async def effect() -> str:
                note(run, turn, "effect")
                return f"{run}"

            note(run, turn, GIVEN + await turn.step("s#", effect))
        elif step == "q":
            answer = await turn.ask("what else?")
            note(run, turn, f"{ANSWERED}{answer.message.message_id}")
        elif step == "i":
            raise InputRequired("and then?")
        elif step == "f":
            raise Failed("as the script wants it")

    @agent.skill()
    async def play(turn: Turn) -> str:
        assert turn.task is not None
        run, script = number(), turn.text
        note(run, turn, "begin")
        name = CHECKPOINT + turn.message.message_id
        stored = sum(len(artifact.parts) for artifact in turn.task.artifacts if artifact.artifact_id == name)
        count = 0
        for step in script:
            if step != "c":
                await act(turn, step, run)
                continue
            count += 1
            if count <= stored:
                continue  # an earlier attempt came this far
            note(run, turn, f"chunk {count}")
            await turn.artifact(f"{count}/{turn.attempt}", id=name, append=count > 1)
            note(run, turn, f"chunk {count} stored")
        return "done"

    @agent.skill()
    async def pour(turn: Turn) -> AsyncIterator[str]:
        run, script = number(), turn.text
        note(run, turn, "begin")
        count = 0
        for step in script:
            if step != "c":
                await act(turn, step.replace("q", "t"), run)
                continue
            count += 1
            yield f"{count}/{turn.attempt}/{script.count('c')}"
            note(run, turn, f"piece {count}")

    return agent
