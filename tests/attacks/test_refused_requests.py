"""A request that is refused leaves nothing behind: its bytes go with the call, not with the garbage collector."""

import gc
import json
import types

from a2a_grpc.wire import CancelTaskRequest
from tests.attacks.rig import run
from tests.harness import V1, Served, message, refusal, request, scripted, scripted_agent, serving
from tests.spec.raw_calls import raw_call
from tests.spec.rpcs import RPCS

SERVING = ("/a2a_grpc/rpc/", "/a2a_grpc/server/", "/a2a_grpc/engine/", "/a2a_grpc/log/", "/a2a_grpc/store/")


async def refuse(served: Served) -> None:
    """Make calls that are refused, each at another place, and tasks whose agent ends them by an exception."""
    big = "x" * 100_000
    sends = [message(big, message_id=""), message(big, task_id="unknown"), message(big, context_id="c" * 300)]
    for sent in sends:
        await refusal(served.send(request(sent)))
        await refusal(served.stream(request(sent)))
    for rpc in RPCS:
        for raw, metadata in ((b"\xff" * 100, V1), (b"", ()), (b"", (("a2a-version", "9.0"),)), (b"\x0a\x01\xff", V1)):
            await refusal(raw_call(served, rpc, raw, metadata))
    task = (await served.send(scripted({"complete": "x"}))).task
    await refusal(served.subscribe(task.id))
    await refusal(served.stub.CancelTask(CancelTaskRequest(id=task.id), metadata=V1))
    await refusal(served.send(request(message(big, task_id=task.id))))
    await refusal(served.stream(request(message(big, task_id=task.id))))
    await served.send(request(message(big)), ("idempotency-key", "k"))
    await refusal(served.send(request(message(big + "y")), ("idempotency-key", "k")))
    await served.send(scripted({"fail": "no"}))
    await served.send(scripted({"raise": "no"}))
    await served.send(scripted({"chunks": {"count": 4, "text": big}}))  # more than a task may have


def garbage_frames() -> list[str]:
    """Return the frames of the server that only the garbage collector can free."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
    finally:
        gc.set_debug(0)
    frames = [found.f_code for found in gc.garbage if isinstance(found, types.FrameType)]
    gc.garbage.clear()
    return [code.co_qualname for code in frames if any(place in code.co_filename for place in SERVING)]


async def test_refusals_leave_no_cycles() -> None:
    async with serving(scripted_agent(), max_task_bytes=250_000) as served:
        await refuse(served)
        gc.collect()
        gc.disable()
        try:
            await refuse(served)
            assert garbage_frames() == []
        finally:
            gc.enable()


async def test_refused_requests_of_4_mib_leave_no_memory_behind() -> None:
    """Without a garbage collector, 24 of each kind and method were 96 MiB at the least. The allocator keeps pieces of
    freed requests, 8 to 27 MiB, whatever the number of requests."""
    grown = json.loads(await run("-m", "tests.attacks.refused", "24"))
    assert len(grown) == 3
    assert max(grown.values()) < 64, grown
