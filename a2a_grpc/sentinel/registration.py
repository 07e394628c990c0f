"""The agent's side of the registry: register, renew the lease, and unregister at the end."""

import asyncio
import logging
import random
import secrets
import time
from types import TracebackType
from typing import Self

from a2a_grpc.backoff import Backoff
from a2a_grpc.client.credentials import AUTHORIZATION, Credentials
from a2a_grpc.client.registry import Registry
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError, NoAgentFound
from a2a_grpc.harmless import one_line
from a2a_grpc.registry.wire import HeartbeatRequest, RegisterRequest, UnregisterRequest
from a2a_grpc.sentinel.agent_settings import RegisterSettings
from a2a_grpc.sentinel.beating import beat, period_of
from a2a_grpc.sentinel.outgoing import check_files, client_of, token_in

logger = logging.getLogger("a2a_grpc.sentinel")

CALL_S = 5.0
"""Seconds for one call of the registry."""
RETRY_INITIAL_S, RETRY_MAXIMUM_S = 0.5, 10.0
"""Seconds before the first and the later attempts to register again."""
LEAVE_S = 2.0
"""Seconds to unregister at the end."""
SPREAD_S = 1.0
"""Seconds over which the agents of a registry come back to it after a cut."""
NO_STREAM_INITIAL_S, NO_STREAM_MAXIMUM_S = 60.0, 600.0
"""Seconds for which heartbeats are calls after a stream ended without an answer, the first time and later. A proxy or
an older sentinel has refused it, or it was cut."""


class Registration:
    """Keeps an agent in a registry, from `register` on until the block ends.

    Guarantees:

    - The lease is renewed three times in its time, by a stream of heartbeats. If no stream can be opened, each
      heartbeat is a call.
    - After a restart of the registry the agent registers again.
    - If the registry does not answer, or refuses the agent, the agent serves all the same, and tries again.
    - At the end the agent is removed. If the process is killed, the agent is gone with its lease.

    Args:
        settings: The registry, and how it is called.

    Raises:
        ConfigurationError: The address of the registry is wrong, or the file with the token, or one with certificates,
            cannot be used.
    """

    def __init__(self, settings: RegisterSettings) -> None:
        self._settings = settings
        if settings.register_token_file is not None:
            token_in("register_token_file", settings.register_token_file)
        self._client = client_of(settings, "register", timeout_s=CALL_S, connect_timeout_s=CALL_S)
        self._registry = Registry(settings.register, settings=self._client, credentials=_credentials(settings))
        self._request = RegisterRequest()
        self._is_registered = False
        self._is_renewed = False
        """True once the registry has renewed the lease since the last failure."""
        self._no_stream_until = 0.0
        """When to try again to open a stream, after one was refused or cut."""
        self._no_stream = Backoff(NO_STREAM_INITIAL_S, NO_STREAM_MAXIMUM_S)
        self._backoff = Backoff(RETRY_INITIAL_S, RETRY_MAXIMUM_S)
        self._said = ""
        self._keeping: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await check_files(grpc_address(self._registry.address), self._client, "register")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        assert self._leaving is not None
        await asyncio.wait([self._leaving])
        await self._registry.close()

    def register(self, *, name: str, url: str, tenant: str, card: bytes) -> None:
        """Begin to keep an agent in the registry.

        Args:
            name: The name of the agent in the registry.
            url: The URL of the agent's card, or the address of its gRPC.
            tenant: The tenant of requests to the agent.
            card: The agent's card, a serialised AgentCard.
        """
        instance = secrets.token_urlsafe(16)
        self._request = RegisterRequest(name=name, instance=instance, url=url, tenant=tenant, card=card)
        self._keeping = asyncio.create_task(self._keep(), name="a2a-grpc:register")

    def leave(self) -> None:
        """Begin to remove the agent from the registry, so that clients find another one."""
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name="a2a-grpc:unregister")

    async def _leave(self) -> None:
        if self._keeping is None:
            return
        self._keeping.cancel()
        await asyncio.wait([self._keeping])
        if not self._is_registered:
            return
        request = UnregisterRequest(name=self._request.name, instance=self._request.instance)
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._registry.call("Unregister", request)
        except (A2AError, ConfigurationError, TimeoutError) as failure:
            logger.info("not unregistered registry=%s reason=%s", self._settings.register, one_line(str(failure)))

    async def _keep(self) -> None:
        """Register, and renew the lease. Try again after each failure."""
        while True:
            self._is_renewed = False
            try:
                if not self._is_registered:
                    await self._register()
                await self._renew()
            except NoAgentFound as error:  # the registry was restarted, or the lease has ended
                self._is_registered = False
                if not self._is_renewed:
                    await self._retry(error)
            except (A2AError, ConfigurationError) as error:
                if self._is_renewed:  # a cut: all agents of the registry come back
                    await asyncio.sleep(random.uniform(0, SPREAD_S))
                else:
                    await self._retry(error)

    async def _retry(self, error: Exception) -> None:
        """Write a failure to the log, unless it is the last one again. Wait until the next attempt."""
        if str(error) != self._said:
            self._said = str(error)
            logger.warning(
                "not registered name=%s registry=%s reason=%s; trying again",
                *(self._request.name, self._settings.register, one_line(self._said)),
            )
        await asyncio.sleep(self._backoff.next_s())

    async def _register(self) -> None:
        await self._registry.call("Register", self._request)
        self._is_registered = True
        logger.info("registered name=%s registry=%s", self._request.name, self._settings.register)

    async def _renew(self) -> None:
        """Renew the lease until this fails, by a stream of heartbeats if the registry takes one, else by calls."""
        name, instance = self._request.name, self._request.instance
        if time.monotonic() >= self._no_stream_until:
            try:
                await beat(self._registry, name, instance, self._answered)
            except NoAgentFound:
                raise
            except A2AError as error:
                if self._is_renewed:
                    raise
                logger.debug("the registry takes no stream of heartbeats: %s", one_line(error.message))
        request = HeartbeatRequest(name=name, instance=instance)
        while True:
            response = await self._registry.call("Heartbeat", request)
            if not self._is_renewed:
                self._no_stream_until = time.monotonic() + self._no_stream.next_s()
            self._renewed()
            await asyncio.sleep(period_of(response.lease_s))
            if time.monotonic() >= self._no_stream_until:
                return

    def _answered(self) -> None:
        """Note that the registry has answered on a stream."""
        self._no_stream.reset()
        self._renewed()

    def _renewed(self) -> None:
        """Note that the registry has renewed the lease."""
        self._is_renewed = True
        self._backoff.reset()
        self._said = ""


def _credentials(settings: RegisterSettings) -> Credentials | None:
    """Return the credentials for the registry; None if no token is given."""
    path = settings.register_token_file
    if path is None:
        return None

    async def credentials() -> tuple[str, str]:
        return AUTHORIZATION, f"Bearer {token_in('register_token_file', path)}"

    return credentials
