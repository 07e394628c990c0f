"""The heartbeats of registered agents: a stream for each agent, and one transaction for all that come together."""

import asyncio
import itertools
import logging
import random
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.deadlines import Deadlines
from a2a_grpc.errors import A2AError, InvalidRequestError, NoAgentFound, ResourceExhaustedError, UnavailableError
from a2a_grpc.registry import EntryStore, Key
from a2a_grpc.registry.protocol import Owned
from a2a_grpc.registry.wire import HEARTBEATS, HeartbeatRequest, HeartbeatResponse
from a2a_grpc.rpc import Context, current_caller
from a2a_grpc.sentinel.beating import period_of
from a2a_grpc.sentinel.rounds import Rounds
from a2a_grpc.sentinel.streams import Agent, AgentStreams, first_message
from a2a_grpc.sentinel.wire import parsed
from a2a_grpc.text import MAX_CHARS
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.sentinel")

WRITTEN_AFTER, ANSWERED_AFTER = 0.25, 0.9
"""The shares of a lease after which a heartbeat is written to the store, and answered, again."""
ROUND_S, ROUND = 0.5, 1 / 6
"""Seconds between two rounds, and the largest share of a lease. In a round the heartbeats that have come are read, and
then written to the store."""
SLOT_S = 0.25
"""Seconds between two moments at which agents are asked for heartbeats. To receive those of many agents together takes
half of the time that it takes to receive them one after the other."""
READ = 0.2
"""The share of a round in which heartbeats are read."""
LATE_S = 1.0
"""Seconds by which heartbeats may be late before the agent counts as silent."""
PROBE, FIRST_PROBE = 16, 4
"""Heartbeats of which one is read at once, to see whether more of them wait; and the first such heartbeat."""


class Heartbeats:
    """Renews the leases of registered agents for heartbeats that come on streams.

    Guarantees:

    - A lease ends with its time, counted from the last heartbeat, and at most a second later.
    - The store is asked once for all heartbeats of half a second. A heartbeat is not written if the lease was renewed
      in the store within the last quarter of its time.
    - While the store does not answer, streams stay open, and heartbeats are written later.
    - A stream whose lease is gone ends with NoAgentFound.
    - An agent has one stream. A further one ends the former one.
    - Agents are asked to send their heartbeats four times a second, each at one of these moments, so that they come
      together.

    Args:
        entries: The store of the entries.
        streams: The streams of agents that are open.
        max_streams: The number of streams that may be open.
    """

    def __init__(self, entries: EntryStore, streams: AgentStreams, *, max_streams: int) -> None:
        self._entries = entries
        self._streams = streams
        self._max_streams = max_streams
        self._open: dict[Owned, _Beating] = {}
        self._due: set[Owned] = set()
        self._loop = asyncio.get_running_loop()
        self._round_s = min(ROUND_S, ROUND * entries.lease_s)
        self._slot_s = min(SLOT_S, self._round_s)
        self._rounds = Rounds(self._round_s)
        self._silent: Deadlines[_Beating] = Deadlines(lambda silent: silent.end(SilentError()), look_s=ROUND_S)
        self._lines = Throttle(logger)
        self._keeping = asyncio.create_task(self._keep(), name="a2a-grpc:heartbeats")

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handler of the method."""
        return {HEARTBEATS: grpc.stream_stream_rpc_method_handler(self._streams.framed("heartbeats", self._serve))}

    def drain(self) -> None:
        """End all streams, so that their agents register at another sentinel."""
        for beating in self._open.values():
            beating.end(UnavailableError.shutting_down("register at another"))

    async def close(self) -> None:
        """Renew no further leases."""
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        self._silent.close()
        self._lines.close()

    async def _serve(self, context: Context, agent: Agent) -> None:
        request = parsed(HeartbeatRequest, await first_message(context, "the name of an agent"))
        agent.address = request.name[:MAX_CHARS]
        if self._streams.is_draining:
            raise UnavailableError.shutting_down("register at another")
        owned = Key(request.name, request.instance), current_caller().principal.owner
        if owned not in self._open and len(self._open) >= self._max_streams:
            raise ResourceExhaustedError(f"{self._max_streams} streams of heartbeats are open, the limit")
        if not await self._entries.renew(*owned):
            raise NoAgentFound.of(request.name)
        task = asyncio.current_task()
        assert task is not None
        if (former := self._open.get(owned)) is not None:
            former.end(UnavailableError("the agent has opened another stream"))
        now = self._loop.time()
        self._open[owned] = beating = _Beating(task, self._slot(), now, now)
        agent.is_attached = True
        try:
            await context.write(self._answer(beating, now))
            await self._hear(owned, beating, context)
        except asyncio.CancelledError:
            if beating.fault is None:
                raise
            task.uncancel()
            agent.is_attached = False
            raise beating.fault from None
        finally:
            self._silent.remove(beating)
            if self._open.get(owned) is beating:
                del self._open[owned]

    async def _hear(self, owned: Owned, beating: "_Beating", context: Context) -> None:
        """Read heartbeats until the end of the stream.

        A heartbeat is read when it is due and has probably come: to read those of many agents together takes half of
        the time. If heartbeats may wait in the stream, which must not renew the lease later, they are read at once.
        """
        lease_s, period_s = self._entries.lease_s, period_of(self._entries.lease_s)
        clock, may_wait, read_at, asked_at = self._loop.time, True, 0.0, beating.written_at
        for number in itertools.count(1):
            self._silent.add(beating, lease_s + LATE_S)
            raw: Any = await context.read()
            now = clock()
            if raw is grpc.aio.EOF:
                return
            if raw:
                raise InvalidRequestError("only the first message of the stream names the agent")
            if now >= beating.written_at + WRITTEN_AFTER * lease_s:
                beating.written_at = now
                self._due.add(owned)
            if now >= beating.answered_at + ANSWERED_AFTER * lease_s:
                beating.answered_at = now
                await context.write(self._answer(beating, now))
            if now > asked_at + period_s / 2:  # so no heartbeat has waited
                may_wait, read_at = False, now
            elif number % PROBE == FIRST_PROBE or now > read_at + period_s:
                may_wait = True
            asked_at = now
            if not may_wait:
                read_at += period_s
                await self._rounds.at(read_at)
                asked_at = clock()

    async def _keep(self) -> None:
        """Write the heartbeats of each round to the store."""
        while True:
            await self._rounds.at(self._loop.time())
            await asyncio.sleep(READ * self._round_s)
            try:
                await self._write()
            except StoreUnavailable as error:
                self._lines.warning("store", "the registry's store does not answer error=%s", error)
            except Exception:  # a bug must not end the leases of all agents
                logger.exception("the registry was not written")

    async def _write(self) -> None:
        """Renew the leases of the heartbeats that have come. End the streams of agents without one."""
        if not self._due:
            return
        due, self._due = self._due, set()
        try:
            there = await self._entries.renew_all(due)
        except BaseException:
            self._due |= due
            raise
        for owned in due - there:
            if (beating := self._open.get(owned)) is not None:
                beating.end(NoAgentFound.of(owned[0].name))

    def _slot(self) -> float:
        """Return the part of a round after which an agent is asked for heartbeats."""
        return random.random() * self._round_s // self._slot_s * self._slot_s

    def _answer(self, beating: "_Beating", now: float) -> bytes:
        """Return an answer, which asks for the next heartbeat shortly before the round in which it will be read."""
        lease_s, round_s = self._entries.lease_s, self._round_s
        next_at = (now // round_s - 1) * round_s + period_of(lease_s) + beating.slot_s + self._slot_s / 2
        return HeartbeatResponse(lease_s=lease_s, next_s=max(0.0, next_at - now)).SerializeToString()


class SilentError(UnavailableError):
    """The agent has sent no heartbeat for the time of a lease; open another stream."""

    def __init__(self) -> None:
        super().__init__("no heartbeat has come in the time of a lease; register again")


@dataclass(slots=True, eq=False)
class _Beating:
    """The stream of an agent. The times are those of the event loop."""

    task: asyncio.Task[Any]
    slot_s: float
    """The part of a round after which the agent is asked for heartbeats."""
    written_at: float
    answered_at: float
    fault: A2AError | None = None
    """Why the stream ends, if the sentinel ends it."""

    def end(self, fault: A2AError) -> None:
        """End the stream with an error."""
        if self.fault is None:
            self.fault = fault
            self.task.cancel()
