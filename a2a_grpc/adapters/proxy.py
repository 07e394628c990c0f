"""Serve an agent of another binding: JSON-RPC, REST, or gRPC, whatever the official SDK's client speaks."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from a2a_grpc.adapters.executor import agent_of
from a2a_grpc.adapters.missing import needed
from a2a_grpc.adapters.transport import register
from a2a_grpc.agent import Agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.harmless import one_line
from a2a_grpc.lifecycle import COMPLETED, INTERRUPTED, SETTLED
from a2a_grpc.masking import mask_url
from a2a_grpc.wire import ROLE_AGENT, AgentCard, CancelTaskRequest, SendMessageRequest, TaskStatus

needed("a2a.client", "a2a-sdk")
import httpx  # noqa: E402
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory  # noqa: E402
from a2a.server.agent_execution import AgentExecutor, RequestContext  # noqa: E402
from a2a.utils.errors import A2AError as SdkError  # noqa: E402
from a2a.utils.errors import InvalidAgentResponseError  # noqa: E402

BINDINGS = ["GRPC", "JSONRPC", "HTTP+JSON"]
REMOTE_TASK, REMOTE_CONTEXT = "urn:a2a-grpc:proxied-task", "urn:a2a-grpc:proxied-context"
"""Keys in the metadata of a question, with the ids that the other agent gave."""
CARD_S = 10.0
"""Seconds for the card of the other agent."""


async def proxied(card_url: str) -> Agent:
    """Return an agent that hands each message to the agent of a card, and gives its events.

    The tasks are kept here, so their callers can leave and come back. A task that was cut by a restart of this server
    fails, as the other agent may not be able to resume. Credentials of callers are not handed on.

    Args:
        card_url: The URL of the agent, or of its card.

    Raises:
        ConfigurationError: The card cannot be fetched, or the agent has no binding of the SDK's client.
    """
    base, path = card_url, None
    if card_url.endswith(".json"):
        base, _, path = card_url.rpartition("/.well-known/")
        path = f"/.well-known/{path}" if base else None
        if path is None:
            base, _, path = card_url.rpartition("/")
    if not base.startswith(("http://", "https://")):
        raise ConfigurationError(f"--proxy is {mask_url(card_url)!r}; it must be an http:// or https:// URL of a card")
    try:
        async with httpx.AsyncClient(timeout=CARD_S) as http:
            card = await A2ACardResolver(http, base).get_agent_card(path)
        async with calling(card):
            pass  # ValueError for an agent without a known binding
    except (SdkError, httpx.HTTPError, ValueError) as error:
        raise ConfigurationError(
            f"the agent at {mask_url(card_url)} cannot be proxied: {one_line(mask_url(str(error)))}"
        ) from error
    return agent_of(Proxy(card), _own(card))


@asynccontextmanager
async def calling(card: AgentCard, *, read_s: float | None = None) -> AsyncIterator[Any]:
    """Give a client of the other agent. It waits `read_s` seconds for each event, by default without a limit.

    gRPC is called with this package's client.
    """
    async with httpx.AsyncClient(timeout=httpx.Timeout(CARD_S, read=read_s)) as http:
        factory = ClientFactory(ClientConfig(supported_protocol_bindings=BINDINGS, httpx_client=http))
        register(factory)
        client = factory.create(card)
        try:
            yield client
        finally:
            await client.close()


def _own(card: AgentCard) -> AgentCard:
    """Return the card under which the other agent is served here, without what is only true for the other one."""
    own = AgentCard()
    own.CopyFrom(card)
    for field in ("supported_interfaces", "security_schemes", "security_requirements", "signatures", "capabilities"):
        own.ClearField(field)
    own.capabilities.streaming = True
    return own


class Proxy(AgentExecutor):  # type: ignore[misc]  # the SDK is not checked
    """Hands each message to another agent."""

    def __init__(self, card: AgentCard) -> None:
        self._card = card

    async def execute(self, context: RequestContext, event_queue: Any) -> None:
        """Send the message. Give the events of the other agent's task."""
        state = 0
        async with calling(self._card) as client, aclosing(client.send_message(_request(context))) as responses:
            async for response in responses:
                kind = response.WhichOneof("payload")
                event = getattr(response, kind)
                if kind == "message":
                    state = COMPLETED
                else:
                    remote = event.id if kind == "task" else event.task_id
                    context.call_context.state[REMOTE_TASK] = remote  # `cancel` gets the same context
                    if kind != "artifact_update":
                        state = event.status.state
                        _note_ids(event.status, remote, event.context_id)
                await event_queue.enqueue_event(event)
        if state not in SETTLED:  # such an end is a lost connection, not a result
            raise InvalidAgentResponseError("The other agent ended its answer before its task was over.")

    async def cancel(self, context: RequestContext, event_queue: Any) -> None:
        """Cancel the other agent's task, if it has been named."""
        if (remote := context.call_context.state.get(REMOTE_TASK)) is None:
            return
        async with calling(self._card, read_s=CARD_S) as client:
            await client.cancel_task(CancelTaskRequest(id=remote))


def _request(context: RequestContext) -> SendMessageRequest:
    """Return the request for the other agent, with its ids in the place of those of this one."""
    request = SendMessageRequest(message=context.message, configuration=context.configuration)
    message = request.message
    message.task_id = message.context_id = ""
    del message.reference_task_ids[:]
    if (task := context.current_task) is None:
        return request
    for said in reversed((*task.history, task.status.message)):
        if REMOTE_TASK in said.metadata.fields:
            message.task_id = said.metadata.fields[REMOTE_TASK].string_value
            message.context_id = said.metadata.fields[REMOTE_CONTEXT].string_value
            break
    return request


def _note_ids(status: TaskStatus, task_id: str, context_id: str) -> None:
    """Note the ids of the other agent in its question, so that the answer goes to that task, after a restart too."""
    if status.state not in INTERRUPTED:
        return
    if not status.message.parts:
        status.message.role = ROLE_AGENT
        status.message.parts.add().text = "The agent waits for you."
    status.message.metadata[REMOTE_TASK] = task_id
    status.message.metadata[REMOTE_CONTEXT] = context_id
