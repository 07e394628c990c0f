"""A server for an agent: `Server` in an event loop, `serve` as a program."""

from a2a_grpc.listening.ports import ListenError
from a2a_grpc.server.requests import RequestLimits
from a2a_grpc.server.serve import loading, run, serve
from a2a_grpc.server.server import Server
from a2a_grpc.server.settings import ServerSettings

__all__ = ["ListenError", "RequestLimits", "Server", "ServerSettings", "loading", "run", "serve"]
