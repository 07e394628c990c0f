"""Checks of an operation against the agent's card."""

from google.protobuf.message import Message as ProtobufMessage

from a2a_grpc.errors import A2AError, PushNotificationNotSupportedError, UnsupportedOperationError
from a2a_grpc.protocol import CALLBACK_EXTENSION
from a2a_grpc.wire import (
    AgentCard,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    SendMessageRequest,
    TaskPushNotificationConfig,
)

OF_PUSH = (
    TaskPushNotificationConfig,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    DeleteTaskPushNotificationConfigRequest,
)


def check_offered(request: ProtobufMessage, card: AgentCard, target: str) -> None:
    """Raise the error that the agent would answer if its card does not offer what a request asks for (CARD-10).

    Streams are not checked, since the tasks of an agent that does not stream are polled.
    """
    offers = card.capabilities
    if isinstance(request, SendMessageRequest) and CALLBACK_EXTENSION in request.message.metadata.fields:
        check_callbacks(any(extension.uri == CALLBACK_EXTENSION for extension in offers.extensions), target)
    pushes = isinstance(request, OF_PUSH) or (
        isinstance(request, SendMessageRequest) and request.configuration.HasField("task_push_notification_config")
    )
    if pushes and not offers.push_notifications:
        raise _refusal(PushNotificationNotSupportedError, target, "push notifications", "pushNotifications")
    if isinstance(request, GetExtendedAgentCardRequest) and not offers.extended_agent_card:
        raise _refusal(UnsupportedOperationError, target, "an extended card", "extendedAgentCard")


def check_callbacks(are_offered: bool, target: str) -> None:
    """Raise UnsupportedOperationError for a callback that the agent would never make."""
    if not are_offered:
        raise UnsupportedOperationError(
            f"'{target}' does not offer callbacks (the extension {CALLBACK_EXTENSION}); the message was not sent"
        )


def _refusal(kind: type[A2AError], target: str, what: str, member: str) -> A2AError:
    return kind(f"the card of '{target}' does not offer {what} (capabilities.{member}); the agent was not called")
