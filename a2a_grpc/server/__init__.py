"""A server for an agent: `Server` in an event loop, `serve` as a program.

server     the server of one agent, from its start to its end
settings   its settings
limits     whether the settings fit each other

Calls:

admission  the checks of every call
servicer   the eleven RPCs
requests   the checks of requests
width      counting the fields of large requests before they are parsed
loads      loading tasks for responses
paging     page tokens
pace       long work in steps
published  the card with an address that the caller can reach

The program:

serve      serving in one process or several, until a signal comes
workers    several processes on one port
worker     one of these processes
stopping   the signals that stop a server
readiness  whether the server accepts calls and its store answers
http       the HTTP port with the card and the probes
garbage    the garbage collector
"""

from a2a_grpc.listening.ports import ListenError
from a2a_grpc.server.requests import RequestLimits
from a2a_grpc.server.serve import loading, run, serve
from a2a_grpc.server.server import Server
from a2a_grpc.server.settings import ServerSettings

__all__ = ["ListenError", "RequestLimits", "Server", "ServerSettings", "loading", "run", "serve"]
