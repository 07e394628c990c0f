"""P2: a snapshot and the events after it fit together, whenever one joins."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from a2a_grpc import Agent, TaskState, Turn
from a2a_grpc.parts import text_of
from a2a_grpc.wire import A2AServiceStub, SubscribeToTaskRequest
from tests.covers import covers
from tests.harness import V1, event_state, request, serving, texts
from tests.regressions.faults import connection

WAVES, WAVE, CHUNKS_PER_WAVE = 20, 50, 3


@covers("P2", "SUB-6")
@pytest.mark.long
async def test_of_1000_subscribers_that_join_midway_none_has_a_duplicated_or_missing_chunk() -> None:
    go = asyncio.Semaphore(0)
    emitted = asyncio.Semaphore(0)
    agent = Agent("Counter", "Counts, a number at a time.")

    @agent.skill()
    async def count(turn: Turn) -> None:
        for i in range(WAVES * CHUNKS_PER_WAVE):
            await go.acquire()
            await turn.artifact(f"{i} ", id="numbers", append=True)
            emitted.release()
        await go.acquire()

    async with serving(agent) as served, AsyncExitStack() as connections:
        task = (await served.send(request(immediately=True))).task
        starts: list[str] = []
        readers: list[asyncio.Task[tuple[str, int]]] = []

        async def read(stub: A2AServiceStub, joined: list[object], all_in: asyncio.Event) -> tuple[str, int]:
            """What a subscriber's artifact amounts to, with the last state it saw."""
            text, state = "", 0
            call = stub.SubscribeToTask(SubscribeToTaskRequest(id=task.id), metadata=V1)
            async for event in call:
                if event.HasField("task"):
                    text = "".join(texts(event.task))
                    starts.append(dict(await call.initial_metadata())["a2a-grpc-seq"])
                    joined.append(call)
                    if len(joined) in (1, WAVE // 2):  # the rest of the wave is on its way in
                        go.release()
                    if len(joined) == WAVE:
                        all_in.set()
                elif event.HasField("artifact_update"):
                    text += text_of(event.artifact_update.artifact)
                state = event_state(event) or state
            return text, state

        for _ in range(WAVES):
            # a connection may have 100 streams
            stub = await connections.enter_async_context(connection(served.server.grpc_address))
            all_in, joined = asyncio.Event(), list[object]()
            readers += [asyncio.create_task(read(stub, joined, all_in)) for _ in range(WAVE)]
            go.release()
            await all_in.wait()
            for _ in range(CHUNKS_PER_WAVE):
                await emitted.acquire()
        go.release()
        results = await asyncio.gather(*readers)

    whole = "".join(f"{i} " for i in range(WAVES * CHUNKS_PER_WAVE))
    assert results == [(whole, TaskState.TASK_STATE_COMPLETED)] * 1000
    assert len(set(starts)) >= WAVES
