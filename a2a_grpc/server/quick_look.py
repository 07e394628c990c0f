"""A quick look at a send: most messages have only a few texts or files, and nothing else that could be wrong."""

from a2a_grpc.server.media_types import MediaTypes
from a2a_grpc.server.settings import RequestLimits
from a2a_grpc.wire import ROLE_USER, Message, SendMessageConfiguration, SendMessageRequest


def is_plain(request: SendMessageRequest, limits: RequestLimits, media_types: MediaTypes) -> bool:
    """Return True if the quick look finds nothing wrong. Return False if the fields have to be checked one by one."""
    if request.HasField("metadata") or not _has_plain_fields(request.message, limits):
        return False
    if request.HasField("configuration") and not _is_plain_configuration(request.configuration):
        return False
    for part in request.message.parts:
        kind = part.WhichOneof("content")
        if kind not in ("text", "raw") or part.HasField("metadata") or not media_types.accept(part.media_type, kind):
            return False
    return True


def _has_plain_fields(message: Message, limits: RequestLimits) -> bool:
    ids = message.message_id + message.context_id + message.task_id
    return not (
        not message.message_id
        or len(ids) > limits.max_id_chars
        or "\0" in ids
        or message.role != ROLE_USER
        or message.HasField("metadata")
        or message.reference_task_ids
        or message.extensions
        or not 0 < len(message.parts) <= limits.max_parts
    )


def _is_plain_configuration(configuration: SendMessageConfiguration) -> bool:
    return not (
        configuration.history_length < 0
        or configuration.accepted_output_modes
        or configuration.HasField("task_push_notification_config")
    )
