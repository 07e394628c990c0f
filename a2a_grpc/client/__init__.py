"""The client: a remote agent's operations, resumed across lost connections.

client         the operations
connecting     a client made with settings by name
operations     operations that take more than one call
settings       the settings of a client
sending        the options of a message that is sent
pages          lists that come in pages
waiting        polling a task until it is settled
offers         what a card does not offer
errors         the errors that only a client finds

Other ways to use a client:

remote         a remote agent that is called like a coroutine
started        a task that was started, to wait for later
manager        many agents by name
discovery      the cards at several URLs, or of all agents in a registry
registry       the registry of a sentinel
finding        the agent of a registry that fits best
blocking       the operations as plain functions
portal         an event loop in a thread of its own
delegated      remote tasks for a turn of an agent here
questions      asking the user what a remote agent asks
noted          the metadata of these questions
canceling      a begun stream, and canceling its task although the caller was canceled

Streams that continue after a lost connection:

stream         the stream of a task's events
resumption     how a stream goes on, without I/O
steps          the table of this
progress       what the elements of a stream say of the task
places         the places of events in their task
followed       the task that the events build
growth         a limit for this task
taken          whether a task has taken a message
reader         taking the steps
openings       beginning the calls
disconnects    what a failed call means for a stream
snapshot_diff  what a snapshot adds to known events
polling        the events of an agent that does not stream
pieces         the contents of events, and the progress of the work

Calls:

calls          deadlines and retries of calls
headers        the metadata of calls
spans          the spans of calls
responses      checks of responses
status         failures of gRPC as errors
failures       what the client adds to these errors
extensions     the extensions that the agent offers
origin         whether a failure came from the agent
retry          how long to try again
contact        whether the agent was reached

The way to an agent:

target         the target that a user writes
connection     the connection to one agent
pool           as many connections as the open calls need
channel        one channel, with its encryption
renewal        certificates that were replaced
probe          why an agent cannot be reached

Agent cards:

card           reading and checking cards, and choosing an interface
card_source    cards in files and on pages
fetch          cards over HTTP
unfetched      why a card cannot be fetched
fresh          how long an HTTP response stays fresh
page           one HTTP page within bounds
trust          TLS contexts for all that is not gRPC
lenient        cards with mistakes
extended       the card for a known caller

Credentials:

credentials    the credentials of each call
guarded        credentials for the server of a card
security       which credentials a card asks for
identity       what a client shows of itself
tokens         tokens that are renewed before they end
oauth2         tokens from an authorization server
command        tokens from a command
device         signing in with a browser
issuer         the endpoints of an authorization server
endpoint       requests to these
"""

from a2a_grpc.client.blocking import BlockingClient, BlockingStream
from a2a_grpc.client.client import Client
from a2a_grpc.client.command import token_command
from a2a_grpc.client.connecting import connect
from a2a_grpc.client.credentials import Credentials, api_key, bearer
from a2a_grpc.client.discovery import Discovered
from a2a_grpc.client.errors import (
    AgentCardError,
    ConnectionLostError,
    CredentialsUnavailableError,
    ResponseTooLargeError,
    TaskLostError,
    TaskNotCompletedError,
    UnreachableError,
)
from a2a_grpc.client.fetch import Cards
from a2a_grpc.client.finding import find_agent
from a2a_grpc.client.manager import ClientManager
from a2a_grpc.client.oauth2 import oauth2
from a2a_grpc.client.pieces import progress_of
from a2a_grpc.client.registry import FoundAgent, Registry
from a2a_grpc.client.remote import RemoteAgent
from a2a_grpc.client.sending import SendOptions
from a2a_grpc.client.settings import ClientSettings
from a2a_grpc.client.started import RemoteTask
from a2a_grpc.client.stream import TaskStream
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import NoAgentFound
from a2a_grpc.lifecycle import Event, state_name
from a2a_grpc.parts import file_part, files_of, user_message

__all__ = [
    "AgentCardError",
    "BlockingClient",
    "BlockingStream",
    "Cards",
    "Client",
    "ClientManager",
    "ClientSettings",
    "ConfigurationError",
    "ConnectionLostError",
    "Credentials",
    "CredentialsUnavailableError",
    "Discovered",
    "Event",
    "FoundAgent",
    "NoAgentFound",
    "Registry",
    "RemoteAgent",
    "RemoteTask",
    "ResponseTooLargeError",
    "SendOptions",
    "TaskLostError",
    "TaskNotCompletedError",
    "TaskStream",
    "UnreachableError",
    "api_key",
    "bearer",
    "connect",
    "file_part",
    "files_of",
    "find_agent",
    "oauth2",
    "progress_of",
    "state_name",
    "token_command",
    "user_message",
]
