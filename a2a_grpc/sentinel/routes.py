"""The routing table of a sentinel: the agents at each address, and the owners of the addresses."""

import asyncio
import logging
import time
from collections.abc import Iterable

from a2a_grpc.errors import PermissionDeniedError, ResourceExhaustedError, UnavailableError
from a2a_grpc.sentinel.direct import Direct
from a2a_grpc.sentinel.tunnel import Tunnel
from a2a_grpc.sentinel.upstream import Upstream

logger = logging.getLogger("a2a_grpc.sentinel")

RETIRE_S = 60.0
"""Seconds that the calls of a replaced tunnel have to finish."""

MAX_HELD = 100_000
"""Addresses whose principals are remembered."""


class Routes:
    """The agents by their addresses.

    Guarantees:

    - An address belongs to the principal that was the first to attach there, for `hold_s` seconds after its last agent
      has gone. Agents of other principals are refused, and the attached agents are not disturbed.
    - A further tunnel of the same agent process takes the place of the former one at once. Calls in progress finish on
      the former one.
    - Several agents of the same principal may be attached at one address if they share a store. Calls go to one after
      the other. An agent that drains gets no calls.
    - Any other second agent is refused, unless it replaces the first one.
    - No agent can attach at the address of a plain route.

    Args:
        max_agents: The number of agents that may be attached.
        hold_s: Seconds for which an address is held for its principal.
        plain: The agents of plain routes.
    """

    def __init__(self, *, max_agents: int, hold_s: float, plain: Iterable[Direct] = ()) -> None:
        self._max_agents = max_agents
        self._hold_s = hold_s
        self._plain = {upstream.address: upstream for upstream in plain}
        self._attached: dict[str, list[Tunnel]] = {}
        self._owners: dict[str, tuple[str, float | None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        """Set when an agent has been attached or detached, or has sent its card. The registry clears it."""

    def find(self, address: str) -> Upstream | None:
        """Return the agent that gets the next call for an address. Return None if there is none."""
        if (plain := self._plain.get(address)) is not None:
            return plain
        tunnels = self._attached.get(address, [])
        for place, tunnel in enumerate(tunnels):
            if tunnel.takes_calls:
                tunnels.append(tunnels.pop(place))
                return tunnel
        return None

    def all(self) -> list[Tunnel]:
        """Return the attached agents."""
        return [tunnel for tunnels in tuple(self._attached.values()) for tunnel in tunnels]

    @property
    def count(self) -> int:
        """The number of attached agents."""
        return sum(map(len, tuple(self._attached.values())))

    @property
    def plain(self) -> list[Direct]:
        """The agents of plain routes."""
        return list(self._plain.values())

    def upstreams(self) -> list[Upstream]:
        """Return all agents."""
        return [*self.all(), *self._plain.values()]

    def open(self) -> None:
        """Open the plain routes."""
        for upstream in self._plain.values():
            upstream.open()

    def check(self, tunnel: Tunnel) -> None:
        """Raise an error if an agent may not be attached at its address.

        Raises:
            PermissionDeniedError: The address belongs to another principal.
            UnavailableError: Another agent of the same principal is attached there, and they share no store.
            ResourceExhaustedError: Too many agents are attached, or too many addresses are held.
        """
        self._forget()
        address = tunnel.address
        if address in self._plain:
            raise PermissionDeniedError("the address is that of a plain route", metadata={"address": address})
        owner, _ = self._owners.get(address, (tunnel.principal.owner, None))
        if owner != tunnel.principal.owner:
            raise PermissionDeniedError("the address belongs to another principal", metadata={"address": address})
        tunnels = self._attached.get(address, [])
        self._check_others(tunnel, [one for one in tunnels if one.takes_calls and one.instance != tunnel.instance])
        is_new = all(one.instance != tunnel.instance for one in tunnels)
        if is_new and self.count >= self._max_agents:
            raise ResourceExhaustedError(f"{self._max_agents} agents are attached, the limit", retry_after_s=5.0)
        if address not in self._owners and len(self._owners) >= MAX_HELD:
            raise ResourceExhaustedError(f"{MAX_HELD} addresses are held, the limit", retry_after_s=60.0)

    def add(self, tunnel: Tunnel) -> None:
        """Route the calls for an address to an agent. Raise the errors of `check`: others may have come meanwhile."""
        self.check(tunnel)
        former = self._attached.get(tunnel.address, [])
        replaced = [one for one in former if one.instance == tunnel.instance or not one.shares_with(tunnel)]
        tunnel.since = min([tunnel.since, *(one.since for one in former if one.instance == tunnel.instance)])
        self._attached[tunnel.address] = [*(one for one in former if one not in replaced), tunnel]
        self._owners[tunnel.address] = (tunnel.principal.owner, None)
        self.changed.set()
        logger.info("attached address=%s agents=%d", tunnel.address, len(self._attached[tunnel.address]))
        for one in replaced:
            self._retire(one, is_replaced=one.instance != tunnel.instance)

    def remove(self, tunnel: Tunnel) -> None:
        """Route no further calls to an agent. Do nothing if another tunnel has taken its place."""
        tunnels = self._attached.get(tunnel.address, [])
        if tunnel not in tunnels:
            return
        tunnels.remove(tunnel)
        if not tunnels:
            del self._attached[tunnel.address]
            self._owners[tunnel.address] = (tunnel.principal.owner, time.monotonic() + self._hold_s)
        self.changed.set()
        logger.info("detached address=%s agents=%d", tunnel.address, len(tunnels))

    def give_way(self, tunnel: Tunnel, *, is_replaced: bool) -> None:
        """Route no further calls to an agent whose address an agent at another sentinel has. Its calls may finish.

        Args:
            tunnel: The agent that gives way.
            is_replaced: True if the other agent has replaced this one, which then does not attach again.
        """
        self.remove(tunnel)
        self._retire(tunnel, is_replaced=is_replaced)

    async def close(self) -> None:
        """Close the plain routes. End the waits for the calls of replaced tunnels."""
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(upstream.close() for upstream in self._plain.values()))

    def _retire(self, tunnel: Tunnel, *, is_replaced: bool) -> None:
        """Have an agent attach again, or not if another one has replaced it. End the tunnel after its calls."""
        tunnel.drain(replaced=is_replaced)
        retiring = asyncio.create_task(tunnel.finish(RETIRE_S), name="a2a-grpc:retire")
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _check_others(self, tunnel: Tunnel, others: list[Tunnel]) -> None:
        """Raise UnavailableError if other agents at the address of an agent share no store with it."""
        if tunnel.replaces or all(one.shares_with(tunnel) for one in others):
            return
        said = "another agent is attached at this address; stop it, or attach with --replace"
        if tunnel.store:
            said = (
                "an agent that does not share the store of this one is attached at this address; stop it, attach with "
                "--replace, or give both the same --shared-store if their stores are the same"
            )
        raise UnavailableError(said, metadata={"address": tunnel.address}, retry_after_s=1.0)

    def _forget(self) -> None:
        """Free the addresses whose agents have been away for too long."""
        now = time.monotonic()
        for address in [address for address, (_, until) in self._owners.items() if until is not None and until < now]:
            del self._owners[address]
