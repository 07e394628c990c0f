"""The names of attributes and values, from the semantic conventions of OpenTelemetry for RPC and for A2A."""

SYSTEM = "rpc.system.name"
METHOD = "rpc.method"
STATUS_CODE = "rpc.status_code"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
A2A_METHOD = "a2a.method.name"
A2A_VERSION = "a2a.protocol.version"
MESSAGE_ID = "a2a.message.id"
REFERENCES = "a2a.message.reference_task_ids"
TASK_ID = "a2a.task.id"
TASK_STATE = "a2a.task.state"
TENANT = "a2a.tenant"
AGENT_NAME = "gen_ai.agent.name"
AGENT_VERSION = "gen_ai.agent.version"
CONVERSATION_ID = "gen_ai.conversation.id"
SKILL = "a2a_grpc.skill.id"
ATTEMPT = "a2a_grpc.run.attempt"
RUN_STATE = "a2a_grpc.run.state"

DESTINATION = "a2a_grpc.push.destination"
VERDICT = "a2a_grpc.push.verdict"

TRACEPARENT = "traceparent"
"""The entry of metadata, and the header, with the id of the trace."""

GRPC = "grpc"
OTHER = "_OTHER"
"""What stands for the name of a method that is not known, since callers choose such names."""

SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that are errors of a server. The others are what the caller did wrong."""

DURATIONS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bounds of the buckets of durations, in seconds."""
