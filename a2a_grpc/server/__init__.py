"""A server for an agent: `Server` in an event loop, `serve` as a program.

server         the server of one agent, from its start to its end
plan           what it is made of: the arguments of `Server`, checked
running        its parts, which are opened at its start and closed at its end
preconditions  what has to be true before it starts
ports          its ports
methods        the methods of a port: who may call, and when requests are read
settings       its settings, and the limits of requests
limits         whether the settings fit each other

Calls:

servicer     the eleven RPCs
sends        those that send a message
handlers     their handlers, with the limits of the settings
admission    the checks of every call
parsing      requests from their bytes
width        counting the fields of large requests before they are parsed
requests     the checks of requests
quick_look   a quick look at a send, which most messages pass
media_types  the media types that an agent accepts
policy       what the policy of the deployment allows
loads        loading tasks for responses
answers      sending responses
paging       page tokens
pace         long work in steps
published    the card with an address that the caller can reach, and the extended card
push_calls   the RPCs about push configs
pushing      whether push notifications can be offered, and their parts
disconnects  canceling the tasks of callers that disconnect
telemetry    the traces and metrics of the server

The program:

serve        `serve`
program      serving in one process or several, until a signal comes
loaded       a server made of settings by name
events       what the program reports, as lines for people
loop         the event loop of the program
workers      several processes on one port
worker       one of these processes
suspended    workers that SIGSTOP has stopped
stopping     the signals that stop a server
readiness    whether the server accepts calls and its store answers
http         the HTTP port with the card and the probes
garbage      the garbage collector
"""

from a2a_grpc.listening.ports import ListenError
from a2a_grpc.server.program import run
from a2a_grpc.server.serve import loading, serve
from a2a_grpc.server.server import Server
from a2a_grpc.server.settings import RequestLimits, ServerSettings

__all__ = ["ListenError", "RequestLimits", "Server", "ServerSettings", "loading", "run", "serve"]
