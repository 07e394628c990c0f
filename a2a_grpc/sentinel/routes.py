"""Which agent is reached at which address, and whose the addresses are."""

import asyncio
import logging
import time

from a2a_grpc.errors import PermissionDeniedError, ResourceExhaustedError, UnavailableError
from a2a_grpc.sentinel.errors import NotAttachedError
from a2a_grpc.sentinel.tunnel import Tunnel

logger = logging.getLogger("a2a_grpc.sentinel")

RETIRE_S = 60.0
"""Seconds that the calls of a replaced tunnel have to finish."""

MAX_HELD = 100_000
"""Addresses whose principals are remembered."""


class Routes:
    """The attached agents by their addresses.

    Guarantees:

    - An address belongs to the principal that was the first to attach there, for `hold_s` seconds after its agent has
      gone. Agents of other principals are refused, and the attached agent is not disturbed.
    - A further tunnel of the same agent process takes the place of the former one at once. Calls in progress finish on
      the former one.
    - A second agent of the same principal is refused, unless it replaces the first one.
    """

    def __init__(self, *, max_agents: int, hold_s: float) -> None:
        self._max_agents = max_agents
        self._hold_s = hold_s
        self._tunnels: dict[str, Tunnel] = {}
        self._owners: dict[str, tuple[str, float | None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def find(self, address: str) -> Tunnel:
        """Return the agent that is attached at an address. Raise NotAttachedError if there is none."""
        tunnel = self._tunnels.get(address)
        if tunnel is None or not tunnel.takes_calls:
            raise NotAttachedError
        return tunnel

    def all(self) -> list[Tunnel]:
        """Return the attached agents."""
        return list(self._tunnels.values())

    def check(self, tunnel: Tunnel) -> None:
        """Raise an error if an agent may not be attached at its address.

        Raises:
            PermissionDeniedError: The address belongs to another principal, or the credentials do not cover it.
            UnavailableError: Another agent of the same principal is attached there.
            ResourceExhaustedError: Too many agents are attached, or too many addresses are held.
        """
        self._forget()
        address, allowed = tunnel.address, tunnel.principal.tenants
        if allowed is not None and address not in allowed:
            raise PermissionDeniedError("the credentials do not cover the address", metadata={"address": address})
        owner, _ = self._owners.get(address, (tunnel.principal.owner, None))
        if owner != tunnel.principal.owner:
            raise PermissionDeniedError("the address belongs to another principal", metadata={"address": address})
        former = self._tunnels.get(address)
        if former is not None and former.instance != tunnel.instance and not tunnel.replaces and former.takes_calls:
            raise UnavailableError(
                "another agent is attached at this address; stop it, or attach with --replace",
                metadata={"address": address},
                retry_after_s=1.0,
            )
        if former is None and len(self._tunnels) >= self._max_agents:
            raise ResourceExhaustedError(f"{self._max_agents} agents are attached, the limit", retry_after_s=5.0)
        if address not in self._owners and len(self._owners) >= MAX_HELD:
            raise ResourceExhaustedError(f"{MAX_HELD} addresses are held, the limit", retry_after_s=60.0)

    def add(self, tunnel: Tunnel) -> None:
        """Route the calls for an address to an agent. Raise the errors of `check`: others may have come meanwhile."""
        self.check(tunnel)
        former = self._tunnels.get(tunnel.address)
        self._tunnels[tunnel.address] = tunnel
        self._owners[tunnel.address] = (tunnel.principal.owner, None)
        logger.info("attached address=%s", tunnel.address)
        if former is not None:
            former.drain(replaced=former.instance != tunnel.instance)
            retiring = asyncio.create_task(former.finish(RETIRE_S), name="a2a-grpc:retire")
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    def remove(self, tunnel: Tunnel) -> None:
        """Route no further calls to an agent. Do nothing if another tunnel has taken its place."""
        if self._tunnels.get(tunnel.address) is tunnel:
            del self._tunnels[tunnel.address]
            self._owners[tunnel.address] = (tunnel.principal.owner, time.monotonic() + self._hold_s)
            logger.info("detached address=%s", tunnel.address)

    async def close(self) -> None:
        """End the waits for the calls of replaced tunnels."""
        for retiring in self._retiring:
            retiring.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _forget(self) -> None:
        """Free the addresses whose agents have been away for too long."""
        now = time.monotonic()
        for address in [address for address, (_, until) in self._owners.items() if until is not None and until < now]:
            del self._owners[address]
