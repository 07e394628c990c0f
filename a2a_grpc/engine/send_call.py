"""A send call, the turn that it is accepted as, and when that turn is over."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from a2a_grpc import lifecycle
from a2a_grpc.errors import UnsupportedOperationError
from a2a_grpc.log import Follower
from a2a_grpc.offload import offload
from a2a_grpc.principal import Principal
from a2a_grpc.store import Binding, Push, Scope, Snapshot, TaskKey
from a2a_grpc.wire import SendMessageRequest, Task, TaskState


@dataclass(slots=True)
class SendCall:
    """A checked send with its caller. The engine fills in the ids of its message."""

    principal: Principal
    request: SendMessageRequest
    idempotency_key: str = ""
    waits: bool = False
    """True if the caller waits until the turn is over."""
    streams: bool = False
    """True if the caller follows the task record by record."""
    size: int = 0
    """Bytes of the request; 0 if it is known to be small."""
    pushes: Callable[[TaskKey], tuple[Push, ...]] | None = None
    """Gives the push configs of the task that this send creates."""
    fingerprint: bytes = field(init=False, default=b"")
    """A digest of the request, if there is an idempotency key. See `sign`."""

    async def sign(self) -> None:
        """Compute the fingerprint."""
        self.fingerprint = await offload(self.size, _fingerprint, self.request)

    @property
    def scope(self) -> Scope:
        return Scope(self.principal.tenant, self.principal.owner)

    def binding(self, task_id: str) -> tuple[str, Binding] | None:
        """Return the idempotency key with the first turn of a task, which the store may change; None without a key."""
        if not self.idempotency_key:
            return None
        return self.idempotency_key, Binding(self.fingerprint, task_id, 1)


def _fingerprint(request: SendMessageRequest) -> bytes:
    return hashlib.sha256(request.SerializeToString(deterministic=True)).digest()


class AcceptedTurn(NamedTuple):
    """A message that was accepted as a turn of a task."""

    key: TaskKey
    turn: int
    snapshot: Snapshot
    """The task before any event of the turn: the first element of a send's stream."""
    records: Follower | None = None
    """The records of a new task whose caller waits for it or streams it. The caller has to leave it."""
    created: Task | None = None
    """A new task, parsed, for a caller that waits. The caller may change it."""


def is_over(state: int, reached: int, turn: int) -> bool:
    """Return True if `turn` is over for a task that is in `state` and in its turn `reached`."""
    return state in lifecycle.TERMINAL or reached > turn or (reached == turn and state in lifecycle.SETTLED)


def ended_before(key: TaskKey, state: TaskState) -> UnsupportedOperationError:
    """Return the error for a message whose turn never came."""
    return UnsupportedOperationError(
        f"task '{key.id}' became {lifecycle.state_name(state)} before it came to this message",
        metadata={"task_id": key.id},
    )
