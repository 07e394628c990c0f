"""The names of the protocol that are not messages: metadata keys, versions, bindings, extensions, paths."""

PROTOCOL_VERSION = "1.0"
GRPC_BINDING = "GRPC"

CARD_PATH = "/.well-known/agent-card.json"
"""Where an agent's host serves its card (spec §8.2)."""

STATUS_DETAILS = "grpc-status-details-bin"
"""The trailer with the serialised `google.rpc.Status` of an error (ERR-3)."""

SEQ_EXTENSION = "urn:a2a-grpc:extension:seq:1"
"""URI of the optional extension by which a client resumes a stream after a seq."""
IDEMPOTENT_SEND_EXTENSION = "urn:a2a-grpc:extension:idempotent-send:1"
"""URI of the optional extension by which a repeated send makes no second task."""

ARTIFACTS_EXTENSION = "urn:a2a-grpc:extension:artifacts:1"
"""URI of the optional extension by which a caller leaves artifacts out of the tasks that it is given."""

LEFT_OUT = "urn:a2a-grpc:left-out"
"""Where the metadata of a canceled task says which of its parts were too large for the answer: `artifacts`, or
`artifacts, history`."""
CREATED = "urn:a2a-grpc:created"
"""Where a task's metadata says when it was created: ISO 8601, UTC. `status.timestamp` says when it last changed."""
PRIORITY = "priority"
"""The key in the metadata of a message or a request with which a caller asks for a priority."""
REMOTE = "urn:a2a-grpc:remote"
"""Where the metadata of a question says for which other agent's task it is asked: the `call` of the handler, the `task`
there, the message id of the `question` there, and the number of parts of each of the `artifacts` by then."""


class Key:
    """Metadata keys; those of the specification begin with `a2a-`, ours with `a2a-grpc-`."""

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


NO_ARTIFACTS = "none"
"""The value of `a2a-grpc-artifacts` that leaves artifacts out; `all` is the other one."""
ALL_ARTIFACTS = "all"
