"""The sentinel: one address in front of agents that attach to it from anywhere.

sentinel        the sentinel, from its start to its end
settings        its settings
agent_settings  those of an agent that attaches or registers
consistency     whether settings, authenticators and rules fit each other
errors          the errors that only a sentinel gives
telemetry       the traces and metrics of the sentinel
wire            the messages between agents and sentinels

Calls of clients:

ports           the gRPC ports
admission       the checks of every call
routes          the agents at each address, and the owners of the addresses
relay           passing calls on
upstream        an agent to which calls are passed on
outgoing        how servers are called, by settings with a prefix
tunnel          an attached agent, which is called through pipes
direct          an agent of a plain route, which the sentinel calls at its HOST:PORT
rules           who may attach, and who may call
rules_file      the file of the rules
caller          how callers are described
signing         signing the callers for the agents

Attached agents:

attaching       the service that agents call
streams         the end of each of their streams
described       what an agent says of itself
pipe            the bytes of a connection in a stream

The agent's side:

attachment      staying attached to one sentinel or several
attach_loop     staying attached to one sentinel
reattach        when agents attach again
attach_stream   one Attach stream
pipes           its pipes
signed_callers  the callers that the sentinel has signed
registration    registering, renewing the lease, unregistering
beating         the heartbeats

Other sentinels that share the store:

membership      a sentinel in the store
peers           the other sentinels
peer            one of them
locations       the sentinels that an agent is attached to
replacement     whether an agent was replaced from another sentinel
hop             the mark of calls that one sentinel passes on to another

The registry:

registry        its gRPC service
registrable     the names and URLs that it accepts
presence        the entries of the agents that are reached through this sentinel
heartbeats      the heartbeats of registered agents
rounds          waiting for the same moment together

HTTP:

http            the HTTP port
http_callers    the callers
http_catalog    agents as entries of catalogs
http_search     the search of ARD
http_errors     errors in JSON
directory       the agents that a caller finds
route_cards     the cards of agents of plain routes
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from a2a_grpc.sentinel.agent_settings import AttachSettings, RegisterSettings
from a2a_grpc.sentinel.settings import SentinelSettings

if TYPE_CHECKING:
    from a2a_grpc.sentinel.attachment import Attachment
    from a2a_grpc.sentinel.registration import Registration
    from a2a_grpc.sentinel.rules import Rule, Rules
    from a2a_grpc.sentinel.sentinel import Sentinel
else:
    _HOMES = {
        "Attachment": "a2a_grpc.sentinel.attachment",
        "Rule": "a2a_grpc.sentinel.rules",
        "Rules": "a2a_grpc.sentinel.rules",
        "Registration": "a2a_grpc.sentinel.registration",
        "Sentinel": "a2a_grpc.sentinel.sentinel",
    }

    def __getattr__(name: str) -> Any:
        """Import the module of a name at its first use, since the command `serve` needs the settings only."""
        if name not in _HOMES:
            raise AttributeError(f"module 'a2a_grpc.sentinel' has no attribute '{name}'")
        return getattr(import_module(_HOMES[name]), name)


__all__ = [
    "AttachSettings",
    "Attachment",
    "RegisterSettings",
    "Registration",
    "Rule",
    "Rules",
    "Sentinel",
    "SentinelSettings",
]
