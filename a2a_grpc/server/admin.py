"""What operators look into a server with: health, reflection, channelz."""

import importlib
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from a2a_grpc.config import ConfigurationError
from a2a_grpc.rpc.reflection import Symbols
from a2a_grpc.server.settings import ServerSettings
from a2a_grpc.wire import SERVICE_NAME

SERVICES = ("", SERVICE_NAME)
"""Names that the health service knows: the server as a whole and the A2A service."""
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
CHANNELZ = "grpc.channelz.v1.Channelz"


class ByName:
    """A gRPC server to which methods are added by their names alone.

    For each one that is registered as well, grpc.aio keeps a call waiting, and all of them are looked at whenever a
    call of any method comes in.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Any]) -> None:
        """They are added by their names, too: nothing is left to do."""


class Admin:
    """The services beside the agent's that a server offers, each if the settings name it."""

    def __init__(self, settings: ServerSettings) -> None:
        """Raises ConfigurationError where channelz is wanted and not installed."""
        self._health = health_aio.HealthServicer() if settings.health else None
        self._reflects = settings.reflection
        self._channelz = _find_channelz() if settings.channelz else None
        self._is_told_ready: bool | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Adds them to a gRPC server. Reflection knows the agent's service, wherever that is served."""
        names, by_name = [SERVICE_NAME], ByName(server)
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, by_name)
            names.append(HEALTH)
        if self._channelz is not None:
            self._channelz.add_channelz_servicer(server)
            names.append(CHANNELZ)
        if self._reflects:
            reflects = reflection.aio.ReflectionServicer((*names, reflection.SERVICE_NAME), pool=Symbols())
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflects, by_name)

    async def tell(self, ready: bool) -> None:
        """Has the health service say whether the server is ready."""
        if self._health is None or ready == self._is_told_ready:
            return
        status = health_pb2.HealthCheckResponse
        for service in SERVICES:
            await self._health.set(service, status.SERVING if ready else status.NOT_SERVING)
        self._is_told_ready = ready

    async def leave(self) -> None:
        """Has the health service say that the server goes, whatever it is told from now on."""
        if self._health is not None:
            await self._health.enter_graceful_shutdown()


def _find_channelz() -> Any:
    try:
        return importlib.import_module("grpc_channelz.v1.channelz")
    except ModuleNotFoundError as error:
        raise ConfigurationError('channelz needs grpcio-channelz: pip install "a2a-grpc[channelz]"') from error
