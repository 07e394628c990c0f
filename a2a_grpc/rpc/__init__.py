"""Use gRPC as this project needs it: metadata, status details, channel arguments, the frame around every call.

accept          a grpc.aio server that serves any path
options         the arguments of gRPC servers
naming          the names of methods that gRPC does not know
other_versions  callers of other versions of the service
reflection      descriptors for server reflection
turns           the order of accepted calls
wakeups         one round of the event loop for many events of gRPC
entries         the number of a call's metadata entries
traffic         the bytes of a connection that belong to calls

Each call:

methods         the handler of each call
calls           the frame around each call
traced          its span and its duration
authentication  who calls
expiry       streams whose credentials end
call_log        the logs of calls
metadata        the metadata of a call
status          errors as gRPC statuses
interceptors    interceptors of other libraries
behaviors       the functions that handlers call
reset           ending calls

Memory:

limits          refusals before the request is read
arrivals        memory for requests that arrive
responses       memory for responses that clients have not read
shares          fair shares for connections
memory          returning memory to the system
"""

from a2a_grpc.rpc.accept import AcceptingServer
from a2a_grpc.rpc.arrivals import Arrivals, Asking
from a2a_grpc.rpc.authentication import Authentication, Caller, current_caller
from a2a_grpc.rpc.call_log import CallLog
from a2a_grpc.rpc.calls import Calls
from a2a_grpc.rpc.interceptors import for_interceptors, instrumented
from a2a_grpc.rpc.metadata import CallMetadata
from a2a_grpc.rpc.methods import Context, Methods, invocation_metadata
from a2a_grpc.rpc.options import TransportSettings, server_options
from a2a_grpc.rpc.responses import Responses

__all__ = [
    "AcceptingServer",
    "Arrivals",
    "Asking",
    "Authentication",
    "CallLog",
    "CallMetadata",
    "Caller",
    "Calls",
    "Context",
    "Methods",
    "Responses",
    "TransportSettings",
    "current_caller",
    "for_interceptors",
    "instrumented",
    "invocation_metadata",
    "server_options",
]
