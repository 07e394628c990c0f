"""The names of the protocol that are no messages: metadata keys, versions, bindings, extensions, paths."""

PROTOCOL_VERSION = "1.0"
GRPC_BINDING = "GRPC"

CARD_PATH = "/.well-known/agent-card.json"
"""The path at which an agent's host serves its card (spec §8.2)."""

STATUS_DETAILS = "grpc-status-details-bin"
"""The trailer with the serialised `google.rpc.Status` of an error (ERR-3)."""

SEQ_EXTENSION = "urn:a2a-grpc:extension:seq:1"
"""URI of the optional extension by which a client resumes a stream after a seq."""
IDEMPOTENT_SEND_EXTENSION = "urn:a2a-grpc:extension:idempotent-send:1"
"""URI of the optional extension by which a repeated send makes no second task."""

ARTIFACTS_EXTENSION = "urn:a2a-grpc:extension:artifacts:1"
"""URI of the optional extension by which a caller leaves artifacts out of the tasks that it is given."""

CALLBACK_EXTENSION = "urn:a2a-grpc:extension:callback:1"
"""URI of the optional extension by which an agent sends the result of a task to another agent.

It is also the key in the metadata of a message with which a caller asks for this.
"""
CALLBACK_TASK = "callback_task"
"""Another key for the same, without the URI."""
CALLBACK = "urn:a2a-grpc:callback"
"""The key in the metadata of the message that brings the result of a task to an agent."""

LEFT_OUT = "urn:a2a-grpc:left-out"
"""The key in the metadata of a canceled task that names the parts that were too large for the answer.

The value is `artifacts`, or `artifacts, history`.
"""
CREATED = "urn:a2a-grpc:created"
"""The key in a task's metadata for the time of its creation in ISO 8601, UTC. `status.timestamp` is that of its
change."""
PRIORITY = "priority"
"""The key in the metadata of a message or a request with which a caller asks for a priority."""
REMOTE = "urn:a2a-grpc:remote"
"""The key in the metadata of a question that is asked for a task of another agent.

The value has the `call` of the handler, the `task` there, and the message id of the `question` there. It also has the
number of parts that each of the `artifacts` had at that time.
"""


class Key:
    """Metadata keys. Those of the specification begin with `a2a-`, those of this package with `a2a-grpc-`."""

    VERSION = "a2a-version"
    EXTENSIONS = "a2a-extensions"
    IDEMPOTENCY = "idempotency-key"
    SEQ = "a2a-grpc-seq"
    AFTER = "a2a-grpc-after"
    CANCEL_ON_DISCONNECT = "a2a-grpc-cancel-on-disconnect"
    ARTIFACTS = "a2a-grpc-artifacts"
    LEFT_OUT = "a2a-grpc-left-out"
    PRINCIPAL = "a2a-grpc-principal"
    HOP = "a2a-grpc-hop"
    TOKEN = "x-a2a-notification-token"


NO_ARTIFACTS = "none"
"""The value of `a2a-grpc-artifacts` that leaves artifacts out. The other value is `all`."""
ALL_ARTIFACTS = "all"
