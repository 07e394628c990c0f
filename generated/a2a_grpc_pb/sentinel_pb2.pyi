from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentFrame(_message.Message):
    __slots__ = ("hello", "heartbeat", "drain", "bye", "described")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    DESCRIBED_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    heartbeat: Heartbeat
    drain: Drain
    bye: Bye
    described: Described
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., bye: _Optional[_Union[Bye, _Mapping]] = ..., described: _Optional[_Union[Described, _Mapping]] = ...) -> None: ...

class SentinelFrame(_message.Message):
    __slots__ = ("welcome", "heartbeat", "dial", "drain", "bye")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DIAL_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BYE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    heartbeat: Heartbeat
    dial: Dial
    drain: Drain
    bye: Bye
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., dial: _Optional[_Union[Dial, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., bye: _Optional[_Union[Bye, _Mapping]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("address", "instance", "replace", "max_calls", "store")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    MAX_CALLS_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    address: str
    instance: str
    replace: bool
    max_calls: int
    store: str
    def __init__(self, address: _Optional[str] = ..., instance: _Optional[str] = ..., replace: bool = ..., max_calls: _Optional[int] = ..., store: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("public_address", "tenant", "heartbeat_s", "spread_s", "principal_key", "security_schemes", "passes_credentials")
    class SecuritySchemesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    PUBLIC_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_S_FIELD_NUMBER: _ClassVar[int]
    SPREAD_S_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_KEY_FIELD_NUMBER: _ClassVar[int]
    SECURITY_SCHEMES_FIELD_NUMBER: _ClassVar[int]
    PASSES_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    public_address: str
    tenant: str
    heartbeat_s: float
    spread_s: float
    principal_key: bytes
    security_schemes: _containers.ScalarMap[str, bytes]
    passes_credentials: bool
    def __init__(self, public_address: _Optional[str] = ..., tenant: _Optional[str] = ..., heartbeat_s: _Optional[float] = ..., spread_s: _Optional[float] = ..., principal_key: _Optional[bytes] = ..., security_schemes: _Optional[_Mapping[str, bytes]] = ..., passes_credentials: bool = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("spread_s",)
    SPREAD_S_FIELD_NUMBER: _ClassVar[int]
    spread_s: float
    def __init__(self, spread_s: _Optional[float] = ...) -> None: ...

class Described(_message.Message):
    __slots__ = ("card",)
    CARD_FIELD_NUMBER: _ClassVar[int]
    card: bytes
    def __init__(self, card: _Optional[bytes] = ...) -> None: ...

class Dial(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("replaced",)
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    replaced: bool
    def __init__(self, replaced: bool = ...) -> None: ...

class Bye(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class LookRequest(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class LookResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class PipeFrame(_message.Message):
    __slots__ = ("dial", "data")
    DIAL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    dial: str
    data: bytes
    def __init__(self, dial: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class Routed(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class RoutedList(_message.Message):
    __slots__ = ("tenant",)
    TENANT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    def __init__(self, tenant: _Optional[str] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("name", "instance", "url", "tenant", "card")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    name: str
    instance: str
    url: str
    tenant: str
    card: bytes
    def __init__(self, name: _Optional[str] = ..., instance: _Optional[str] = ..., url: _Optional[str] = ..., tenant: _Optional[str] = ..., card: _Optional[bytes] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("lease_s",)
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    lease_s: float
    def __init__(self, lease_s: _Optional[float] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("name", "instance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    instance: str
    def __init__(self, name: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("lease_s", "next_s")
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    NEXT_S_FIELD_NUMBER: _ClassVar[int]
    lease_s: float
    next_s: float
    def __init__(self, lease_s: _Optional[float] = ..., next_s: _Optional[float] = ...) -> None: ...

class UnregisterRequest(_message.Message):
    __slots__ = ("name", "instance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    instance: str
    def __init__(self, name: _Optional[str] = ..., instance: _Optional[str] = ...) -> None: ...

class UnregisterResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class FindRequest(_message.Message):
    __slots__ = ("skill", "tags", "text", "page_size", "page_token")
    SKILL_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    skill: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    text: str
    page_size: int
    page_token: str
    def __init__(self, skill: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class AgentsPage(_message.Message):
    __slots__ = ("agents", "next_page_token")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[RegisteredAgent]
    next_page_token: str
    def __init__(self, agents: _Optional[_Iterable[_Union[RegisteredAgent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RegisteredAgent(_message.Message):
    __slots__ = ("name", "attached", "sentinel", "url", "tenant", "card")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTACHED_FIELD_NUMBER: _ClassVar[int]
    SENTINEL_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CARD_FIELD_NUMBER: _ClassVar[int]
    name: str
    attached: bool
    sentinel: str
    url: str
    tenant: str
    card: bytes
    def __init__(self, name: _Optional[str] = ..., attached: bool = ..., sentinel: _Optional[str] = ..., url: _Optional[str] = ..., tenant: _Optional[str] = ..., card: _Optional[bytes] = ...) -> None: ...
