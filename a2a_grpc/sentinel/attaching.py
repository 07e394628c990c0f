"""The service that agents call: Attach and Pipe."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from a2a_grpc.deadlines import time_limit
from a2a_grpc.errors import (
    InvalidRequestError,
    PermissionDeniedError,
    UnavailableError,
)
from a2a_grpc.harmless import one_line
from a2a_grpc.logical import MAX_CHARS
from a2a_grpc.principal import Principal
from a2a_grpc.rpc import Context, current_caller
from a2a_grpc.rpc.traffic import Traffic
from a2a_grpc.sentinel.described import MAX_CARDS, described
from a2a_grpc.sentinel.errors import BadCardError
from a2a_grpc.sentinel.peers import Peers
from a2a_grpc.sentinel.reattach import renewal_s, spread_of
from a2a_grpc.sentinel.routes import Routes
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.sentinel.streams import Agent, AgentStreams, first_message
from a2a_grpc.sentinel.tunnel import Tunnel
from a2a_grpc.sentinel.wire import (
    ATTACH,
    PIPE,
    AgentFrame,
    Bye,
    Heartbeat,
    Hello,
    PipeFrame,
    SentinelFrame,
    Welcome,
    check_hello,
    parsed,
)

logger = logging.getLogger("a2a_grpc.sentinel")


class Attaching:
    """Serves the streams that agents open.

    Guarantees:

    - A stream that breaks the protocol ends with INVALID_ARGUMENT, which names the mistake. No other stream is
      affected.
    - An agent that says nothing for two heartbeats is detached.
    - An agent whose card cannot be served is detached with BadCardError. No other agent is affected.
    - When Attach ends, all pipes and calls of the agent end, too.
    - An agent that may not attach at an address learns nothing of the address, and disturbs no other agent.

    Args:
        routes: The attached agents.
        rules: The rules that say which callers may attach at which addresses.
        settings: The settings of the sentinel.
        folder: A folder for private sockets, which no other user can read.
        welcome: The message for each agent that has attached, without its address.
        traffic: The accounts of connections.
        streams: The streams of agents that are open.
        max_age_s: The age in seconds at which agents are asked to open a new tunnel; 0 for no limit.
        peers: The other sentinels of the store; None if there are none.
    """

    def __init__(
        self,
        routes: Routes,
        rules: Rules,
        settings: SentinelSettings,
        folder: Path,
        welcome: Welcome,
        traffic: Traffic,
        streams: AgentStreams,
        *,
        max_age_s: float = 0.0,
        peers: Peers | None = None,
    ) -> None:
        self._routes = routes
        self._rules = rules
        self._settings = settings
        self._welcome = welcome
        self._folder = folder
        self._traffic = traffic
        self._max_age_s = max_age_s
        self._peers = peers
        self._numbers = count()
        self._dials: dict[str, Tunnel] = {}
        self._streams = streams

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the service."""
        return {
            ATTACH: grpc.stream_stream_rpc_method_handler(self._streams.framed("attach", self._attach)),
            PIPE: grpc.stream_stream_rpc_method_handler(self._streams.framed("pipe", self._pipe)),
        }

    async def _attach(self, context: Context, agent: Agent) -> None:
        frame = parsed(AgentFrame, await first_message(context, "Hello"))
        if frame.WhichOneof("frame") != "hello":
            raise InvalidRequestError("the first frame of Attach must be Hello")
        if self._streams.is_draining:
            raise UnavailableError.shutting_down("attach to another")
        agent.address = frame.hello.address[:MAX_CHARS]
        async with self._attached(frame.hello, current_caller().principal) as tunnel:
            agent.is_attached = True
            welcome = Welcome(
                public_address=self._settings.public_address,
                tenant=tunnel.address,
                heartbeat_s=self._settings.heartbeat_s,
                spread_s=spread_of(self._routes.count),
            )
            welcome.MergeFrom(self._welcome)
            await context.write(SentinelFrame(welcome=welcome).SerializeToString())
            tasks = [
                asyncio.create_task(self._send_frames(tunnel, context), name="a2a-grpc:send"),
                asyncio.create_task(self._receive_frames(tunnel, context), name="a2a-grpc:receive"),
                asyncio.create_task(_wait(tunnel.ended), name="a2a-grpc:ended"),
            ]
            aging = asyncio.create_task(self._renew(tunnel), name="a2a-grpc:aging")
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*tasks, aging):
                    task.cancel()
                await asyncio.gather(*tasks, aging, return_exceptions=True)
            for task in done:
                task.result()
            if tunnel.fault is not None:
                raise tunnel.fault
            agent.is_attached = False
            await context.write(SentinelFrame(bye=Bye()).SerializeToString())

    @asynccontextmanager
    async def _attached(self, hello: Hello, principal: Principal) -> AsyncIterator[Tunnel]:
        """Open a tunnel to an agent while the block runs. Raise an error if the agent may not be attached."""
        check_hello(hello)
        if not self._rules.may_attach(principal, hello.address):
            raise PermissionDeniedError(
                f"the credentials do not cover the address '{hello.address}'", metadata={"address": hello.address}
            )
        path = self._folder / f"{next(self._numbers)}.sock"
        tunnel = Tunnel(
            hello,
            principal,
            path,
            self._dials,
            max_calls=self._settings.max_agent_calls,
            max_response_bytes=self._settings.max_send_bytes,
        )
        self._routes.check(tunnel)
        if self._peers is not None:
            await self._peers.check(tunnel)
        await tunnel.open()
        try:
            self._routes.add(tunnel)
            yield tunnel
        finally:
            self._routes.remove(tunnel)
            await tunnel.close()

    async def _renew(self, tunnel: Tunnel) -> None:
        """Have an agent open a new tunnel, on a new connection, before this one has its largest age.

        Do so before the agent's credentials end as well, which would end the tunnel with its calls.
        """
        if (after_s := renewal_s(self._max_age_s, tunnel.principal.expires_at)) is not None:
            await asyncio.sleep(after_s)
            tunnel.renew()

    async def _send_frames(self, tunnel: Tunnel, context: Context) -> None:
        """Send an agent the frames of its queue, and a heartbeat if there are none."""
        while True:
            try:
                async with asyncio.timeout(self._settings.heartbeat_s):
                    frame = await tunnel.frames.get()
            except TimeoutError:
                frame = SentinelFrame(heartbeat=Heartbeat(spread_s=spread_of(self._routes.count)))
            await context.write(frame.SerializeToString())

    async def _receive_frames(self, tunnel: Tunnel, context: Context) -> None:
        """Handle the frames of an agent until its Bye."""
        with self._traffic.receiving(context.peer()) as explain:
            while True:
                try:
                    async with time_limit(2 * self._settings.heartbeat_s):
                        raw: Any = await context.read()
                except TimeoutError:
                    raise UnavailableError("the agent was silent for two heartbeats") from None
                if raw is grpc.aio.EOF:
                    raise UnavailableError("the agent has ended the stream without Bye")
                frame = parsed(AgentFrame, raw)
                match frame.WhichOneof("frame"):
                    case "heartbeat":
                        pass  # not explained: an agent that sends them without a pause floods
                    case "described":
                        explain(raw)
                        await self._describe(tunnel, frame.described.card)
                    case "drain":
                        tunnel.takes_calls = False
                    case "bye":
                        return
                    case "hello":
                        raise InvalidRequestError("Hello may be said once only")
                    case _:
                        raise InvalidRequestError("the frame is of no known kind")

    async def _describe(self, tunnel: Tunnel, card: bytes) -> None:
        """Keep the card of an agent. Raise BadCardError if it cannot be served."""
        tunnel.cards += 1
        if tunnel.cards > MAX_CARDS:
            raise BadCardError(f"the agent has sent more than {MAX_CARDS} cards")
        if tunnel.description is None or tunnel.description.body != card:
            tunnel.description = await asyncio.to_thread(described, card, tunnel.address)
            self._routes.changed.set()
            logger.info("described address=%s name=%s", tunnel.address, one_line(tunnel.description.card.name))

    async def _pipe(self, context: Context, agent: Agent) -> None:
        frame = parsed(PipeFrame, await first_message(context, "a dial"))
        if (tunnel := self._dials.get(frame.dial)) is None:
            raise InvalidRequestError("no pipe with this dial was asked for")
        agent.address = tunnel.address
        with self._traffic.receiving(context.peer()) as explain:

            async def read() -> Any:
                raw: Any = await context.read()
                if raw is not grpc.aio.EOF:
                    explain(raw)
                return raw

            await tunnel.carry(frame.dial, current_caller().principal, read, context.write)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
