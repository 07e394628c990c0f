"""The only module that imports the generated code: message classes, enums, the descriptor of the service, its stub.

Another copy of the contract may be in the same process, because the official SDK registers the same file, `a2a.proto`,
in protobuf's default pool. If the two descriptors are byte-identical, protobuf shares one set of classes. A test checks
that they are. If they differ and the other copy came first, this module uses the classes that the other copy
registered.
"""

import copyreg
import importlib
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import ModuleType

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper
from google.protobuf.message import Message as ProtobufMessage

GENERATED = "a2a_grpc_pb.a2a_pb2"
SERVICE_NAME = "lf.a2a.v1.A2AService"


def _load_contract() -> ModuleType:
    try:
        return importlib.import_module(GENERATED)
    except TypeError:  # protobuf raises this for a different file of the same name
        module = sys.modules[GENERATED] = _registered_contract()
        return module


def _registered_contract() -> ModuleType:
    """Return a module like the generated one, made of the classes that another package registered."""
    module = ModuleType(GENERATED, "Classes of the a2a.proto that was registered first in this process.")
    file = descriptor_pool.Default().FindFileContainingSymbol(SERVICE_NAME)
    module.DESCRIPTOR = file  # type: ignore[attr-defined]
    for name, descriptor in file.message_types_by_name.items():
        setattr(module, name, message_factory.GetMessageClass(descriptor))
    for name, enum in file.enum_types_by_name.items():
        setattr(module, name, enum_type_wrapper.EnumTypeWrapper(enum))
        for value in enum.values:
            setattr(module, value.name, value.number)
    return module


_contract = _load_contract()

from a2a_grpc_pb.a2a_pb2 import (  # noqa: E402
    ROLE_AGENT,
    ROLE_USER,
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentProvider,
    AgentSkill,
    APIKeySecurityScheme,
    Artifact,
    AuthenticationInfo,
    CancelTaskRequest,
    ClientCredentialsOAuthFlow,
    DeleteTaskPushNotificationConfigRequest,
    DeviceCodeOAuthFlow,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    HTTPAuthSecurityScheme,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    MutualTlsSecurityScheme,
    OAuth2SecurityScheme,
    OAuthFlows,
    OpenIdConnectSecurityScheme,
    Part,
    Role,
    SecurityRequirement,
    SecurityScheme,
    SendMessageConfiguration,
    SendMessageRequest,
    SendMessageResponse,
    StreamResponse,
    StringList,
    SubscribeToTaskRequest,
    Task,
    TaskArtifactUpdateEvent,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a_grpc_pb.a2a_pb2_grpc import A2AServiceStub  # noqa: E402

SERVICE = _contract.DESCRIPTOR.services_by_name["A2AService"]


def task_element(task: bytes) -> bytes:
    """Return the serialised `StreamResponse` or `SendMessageResponse` whose payload is a serialised `Task`.

    In both messages `task` is field 1 and `message` field 2, so that the framing is a tag and a length: nothing is
    parsed or copied twice.
    """
    return framing(1, len(task)) + task


def tasks_page(tasks: Iterable[bytes], rest: ListTasksResponse) -> list[bytes]:
    """Return a serialised `ListTasksResponse` in pieces: serialised tasks (field 1), then what `rest` holds."""
    pieces = [piece for task in tasks for piece in (framing(1, len(task)), task)]
    return [*pieces, rest.SerializeToString()]


def message_element(message: Message) -> bytes:
    """Return the serialised `StreamResponse` or `SendMessageResponse` whose payload is a serialised `Message`."""
    payload = message.SerializeToString()
    return framing(2, len(payload)) + payload


@lru_cache(1024)
def framing(field: int, length: int) -> bytes:
    """Return the tag and the length before the bytes of a field that is a message, for fields 1 to 15."""
    framed = bytearray([field << 3 | 2])
    while length > 0x7F:
        framed.append(length & 0x7F | 0x80)
        length >>= 7
    framed.append(length)
    return bytes(framed)


def _restore(name: str, serialized: bytes) -> ProtobufMessage:
    message: ProtobufMessage = getattr(_contract, name).FromString(serialized)
    return message


def _reduce(message: ProtobufMessage) -> tuple[Callable[[str, bytes], ProtobufMessage], tuple[str, bytes]]:
    return _restore, (message.DESCRIPTOR.name, message.SerializeToString())


for _name in _contract.DESCRIPTOR.message_types_by_name:
    copyreg.pickle(getattr(_contract, _name), _reduce)  # the classes' own module name is not importable

__all__ = [
    "ROLE_AGENT",
    "ROLE_USER",
    "SERVICE",
    "SERVICE_NAME",
    "A2AServiceStub",
    "APIKeySecurityScheme",
    "AgentCapabilities",
    "AgentCard",
    "AgentExtension",
    "AgentInterface",
    "AgentProvider",
    "AgentSkill",
    "Artifact",
    "AuthenticationInfo",
    "CancelTaskRequest",
    "ClientCredentialsOAuthFlow",
    "DeleteTaskPushNotificationConfigRequest",
    "DeviceCodeOAuthFlow",
    "GetExtendedAgentCardRequest",
    "GetTaskPushNotificationConfigRequest",
    "GetTaskRequest",
    "HTTPAuthSecurityScheme",
    "ListTaskPushNotificationConfigsRequest",
    "ListTaskPushNotificationConfigsResponse",
    "ListTasksRequest",
    "ListTasksResponse",
    "Message",
    "MutualTlsSecurityScheme",
    "OAuth2SecurityScheme",
    "OAuthFlows",
    "OpenIdConnectSecurityScheme",
    "Part",
    "Role",
    "SecurityRequirement",
    "SecurityScheme",
    "SendMessageConfiguration",
    "SendMessageRequest",
    "SendMessageResponse",
    "StreamResponse",
    "StringList",
    "SubscribeToTaskRequest",
    "Task",
    "TaskArtifactUpdateEvent",
    "TaskPushNotificationConfig",
    "TaskState",
    "TaskStatus",
    "TaskStatusUpdateEvent",
    "framing",
    "task_element",
    "tasks_page",
]
