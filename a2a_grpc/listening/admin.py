"""The services for operators: health, reflection, channelz."""

import importlib
from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from a2a_grpc.config import ConfigurationError
from a2a_grpc.listening.health import Health
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.rpc.reflection import METHOD, V1, V1ALPHA, Symbols
from a2a_grpc.wire import SERVICE_NAME

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
HEALTH_METHODS = tuple(f"/{HEALTH}/{method}" for method in ("Check", "List", "Watch"))
"""The methods that need no credentials, because load balancers call them."""
CHANNELZ = "grpc.channelz.v1.Channelz"


class Collected:
    """Takes the place of a gRPC server in generated code that adds a service, and keeps the handlers in `handlers`."""

    def __init__(self) -> None:
        self.handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Do nothing, because `add_registered_method_handlers` gets the same handlers."""

    def add_registered_method_handlers(
        self, service: str, handlers: "dict[str, grpc.RpcMethodHandler[Any, Any]]"
    ) -> None:
        """Keep the handlers by their methods' full names."""
        self.handlers |= {f"/{service}/{method}": handler for method, handler in handlers.items()}


class Admin:
    """The services that a server offers in addition to the agent's, if the settings name them."""

    def __init__(self, settings: ListenSettings, services: Sequence[str] = (SERVICE_NAME,)) -> None:
        """Raise ConfigurationError if channelz is wanted and not installed.

        Args:
            settings: Which services are offered.
            services: The names of the services that clients and agents call.
        """
        self._services = tuple(services)
        self._health = Health(("", *services)) if settings.health else None  # "" is the server as a whole
        self._reflects = settings.reflection
        self._channelz = _find_channelz() if settings.channelz else None

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the services. Reflection knows the services of all ports."""
        names, collected = [*self._services], Collected()
        if self._health is not None:
            health_pb2_grpc.add_HealthServicer_to_server(self._health, collected)
            names.append(HEALTH)
        if self._channelz is not None:
            channelz_pb2_grpc = importlib.import_module("grpc_channelz.v1.channelz_pb2_grpc")
            channelz_pb2_grpc.add_ChannelzServicer_to_server(self._channelz.aio.ChannelzServicer(), collected)
            names.append(CHANNELZ)
        if self._reflects:
            reflects = reflection.aio.ReflectionServicer((*names, V1, V1ALPHA), pool=Symbols())
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflects, collected)
            collected.handlers[f"/{V1}/{METHOD}"] = collected.handlers[f"/{V1ALPHA}/{METHOD}"]
        return collected.handlers

    def set_ready(self, ready: bool) -> None:
        """Set whether the health service reports that the server is ready."""
        if self._health is not None:
            self._health.set_ready(ready)

    def leave(self) -> None:
        """Report NOT_SERVING from now on, because the server is about to stop."""
        if self._health is not None:
            self._health.leave()

    async def end(self) -> None:
        """End the streams of the health service."""
        if self._health is not None:
            await self._health.end()


def _find_channelz() -> Any:
    try:
        return importlib.import_module("grpc_channelz.v1.channelz")
    except ModuleNotFoundError as error:
        raise ConfigurationError('channelz needs grpcio-channelz: pip install "a2a-grpc[channelz]"') from error
