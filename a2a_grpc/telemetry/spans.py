"""The spans and their attributes as tables, for the documentation and for tests."""

from typing import NamedTuple

from a2a_grpc.telemetry import names

ATTRIBUTES = {
    names.SYSTEM: "Always `grpc`.",
    names.METHOD: "The full name of the method; `_OTHER` for one that the server does not have.",
    names.STATUS_CODE: "The name of the status code. It is missing if the call failed before it had one.",
    names.ERROR_TYPE: "The status code or the kind of error, if the span is about a failure.",
    names.SERVER_ADDRESS: "The host that the client calls.",
    names.SERVER_PORT: "Its port.",
    names.A2A_METHOD: "The name of the method of A2A.",
    names.A2A_VERSION: "The version of A2A.",
    names.MESSAGE_ID: "The id of the message that is sent.",
    names.REFERENCES: "The ids of the tasks that the message refers to.",
    names.TASK_ID: "The id of the task.",
    names.TASK_STATE: "The newest state of the task in the answer.",
    names.TENANT: "The tenant that the request names; the address of the agent at a sentinel.",
    names.AGENT_NAME: "The name of the agent: at a server its own, at a client the one on the card.",
    names.AGENT_VERSION: "The version of the agent, as above.",
    names.CONVERSATION_ID: "The id of the context of the task.",
    names.SKILL: "The skill that runs.",
    names.ATTEMPT: "How many times the run or the delivery was begun, if it is not the first time.",
    names.DESTINATION: "`webhook` or `callback`.",
    names.VERDICT: "What the receiver did: `delivered`, `retry`, `unauthorized`, `gone` or `refused`.",
}
"""What each attribute says."""


class Span(NamedTuple):
    """One kind of span.

    Attributes:
        name: The name, or what the name says.
        kind: The kind as OpenTelemetry names it.
        text: What the span is about.
        attributes: The names of its attributes. Those that are not known are left out.
    """

    name: str
    kind: str
    text: str
    attributes: tuple[str, ...]


RPC = (names.SYSTEM, names.METHOD, names.STATUS_CODE, names.ERROR_TYPE)
A2A = (
    names.A2A_METHOD,
    names.A2A_VERSION,
    names.MESSAGE_ID,
    names.REFERENCES,
    names.TASK_ID,
    names.TASK_STATE,
    names.TENANT,
    names.AGENT_NAME,
    names.AGENT_VERSION,
    names.CONVERSATION_ID,
)

CLIENT = Span(
    "the method, such as `SendMessage`",
    "CLIENT",
    "A call of a client with all its tries, or a stream with all its connections.",
    (*RPC, names.SERVER_ADDRESS, names.SERVER_PORT, *A2A),
)
SERVER = Span("the method, such as `SendMessage`", "SERVER", "A call that is served.", (*RPC, *A2A))
RUN = Span(
    "`run` and the id of the skill",
    "INTERNAL",
    "The work of a handler for one message, until it ends or asks its user. The work after the answer is a span of its "
    "own, linked to the one before. So is a run that is begun again at another server.",
    (
        names.TASK_ID,
        names.TASK_STATE,
        names.CONVERSATION_ID,
        names.SKILL,
        names.ATTEMPT,
        names.ERROR_TYPE,
    ),
)
DELIVERY = Span(
    "`push webhook` or `push callback`",
    "PRODUCER",
    "An attempt to deliver an event of a task. It belongs to the trace of the newest run of the task. If "
    "another process has run it, to that of the call that registered the config.",
    (names.TASK_ID, names.DESTINATION, names.VERDICT, names.ATTEMPT, names.ERROR_TYPE),
)

SPANS = (CLIENT, SERVER, RUN, DELIVERY)
"""All kinds of spans."""
