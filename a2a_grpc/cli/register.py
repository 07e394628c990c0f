"""Serving an agent that registers, so that clients find it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from a2a_grpc.address import is_wildcard
from a2a_grpc.client.target import grpc_address, shown
from a2a_grpc.config import ConfigurationError
from a2a_grpc.sentinel.agent_settings import RegisterSettings
from a2a_grpc.sentinel.registrable import name_flaw
from a2a_grpc.sentinel.registration import Registration
from a2a_grpc.server import Server
from a2a_grpc.server.program import Program, run


async def serve_registered(settings: RegisterSettings, program: Program) -> None:
    """Serve an agent until a signal comes, and keep the agent in a registry meanwhile.

    Args:
        settings: The registry.
        program: The server of the agent, and a function that reports each step.

    Raises:
        ConfigurationError: The address of the registry is wrong, the file with the token cannot be read, or the server
            has no address that clients of the registry could call. Or no registry accepts the name of the agent.
        ServerFailedError: The server failed.
    """
    server = program.make()
    if server.settings.names_asked_host and not settings.register_url:
        raise ConfigurationError(
            f"listen is '{server.settings.listen}', which is no address for clients; give --advertise HOST:PORT, or "
            "--register-url"
        )
    name = settings.register_as or server.agent.name
    if said := name_flaw(name):
        raise ConfigurationError(f"the name of the agent, '{shown(name)}', {said}; give --register-as NAME")
    async with Registration(settings) as registration:

        def report(event: str, values: Mapping[str, Any]) -> None:
            if event == "ready":
                url = settings.register_url or url_of(server)
                tenant = server.card.supported_interfaces[0].tenant
                registration.register(name=name, url=url, tenant=tenant, card=server.card.SerializeToString())
                program.report("note", {"text": f"registers at {settings.register} as {name}, with {shown(url)}"})
            if event == "draining":
                registration.leave()
            program.report(event, values)

        await run(server, report=report, is_worker=program.is_worker)


def url_of(server: Server) -> str:
    """Return the URL under which clients call a server: that of its card, or the address of its gRPC.

    Args:
        server: A server that has started.
    """
    if server.http_url and not server.settings.advertise and not is_wildcard(urlsplit(server.http_url).hostname or ""):
        return server.http_url
    address = grpc_address(server.card.supported_interfaces[0].url)
    return f"grpcs://{address}" if address.tls else str(address)
