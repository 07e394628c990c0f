"""The callbacks of an agent: its tokens, the function for results, and the programs that wait for results."""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from a2a_grpc.agent.callback import CallbackTask, arrived_in
from a2a_grpc.agent.output import Output
from a2a_grpc.agent.turn import Turn
from a2a_grpc.config import ConfigurationError
from a2a_grpc.parts import Json, text_of
from a2a_grpc.protocol import Key
from a2a_grpc.wire import Message, Part

LIFETIME_S = 30 * 86400
"""Seconds for which a token is accepted. A task may wait for its user, or for its worker, for days."""
NONCE_BYTES = 12
TIME_BYTES = 8
MAC_BYTES = 32
KNOWN = 1000
"""The number of results that are remembered for programs that begin to wait later."""


@dataclass(frozen=True, slots=True)
class Callback:
    """The result of a task of another agent. A function under `@agent.on_callback` gets it.

    Attributes:
        task_id: The id of the task at the other agent.
        context_id: The conversation that the task belongs to.
        state: The name of the task's state, such as "COMPLETED" or "INPUT_REQUIRED".
        seq: The place of the task's last event. It grows if the task is settled several times.
        parts: The parts of the artifacts of the task. Without artifacts they are those of its status message.
        data: The JSON value that was given when the callback was asked for; None if there was none.
        is_cut: True if the result was too large for a message. Then read the task from the other agent.
        turn: The turn in which the function runs.
    """

    task_id: str
    context_id: str
    state: str
    seq: int
    parts: list[Part]
    data: Json
    is_cut: bool
    turn: Turn = field(repr=False)

    @property
    def text(self) -> str:
        """The text of the result."""
        return text_of(self.parts)

    @classmethod
    def of(cls, turn: Turn) -> "Callback":
        """Return the result that the message of a turn brings.

        Args:
            turn: The turn.
        """
        message, arrived = turn.message, arrived_in(turn.message)
        return cls(
            task_id=arrived.task_id,
            context_id=message.context_id,
            state=arrived.state,
            seq=arrived.seq,
            parts=list(message.parts),
            data=arrived.data,
            is_cut=arrived.is_cut,
            turn=turn,
        )


OnCallback: TypeAlias = Callable[[Callback], Awaitable[Output]]
"""A coroutine function for the results of other agents' tasks."""


class Callbacks:
    """What an agent needs to be called back. It is the attribute `callbacks` of an `Agent`.

    Guarantees:

    - Only a message with a token that `issue` has made is taken as a result. The key of the tokens is the server's, so
      that the replicas of an agent and later processes accept them too.
    - A token says nothing of the caller, and is accepted for 30 days.

    Args:
        name: The name of the agent.

    Attributes:
        function: The function that `@agent.on_callback` declared; None if there is none.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._keys: Sequence[bytes] = (secrets.token_bytes(MAC_BYTES),)
        self._address = ""
        self._waiting: dict[str, set[_Waiter]] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self.function: OnCallback | None = None

    @property
    def address(self) -> str:
        """The endpoint at which this process serves the agent; empty if it serves no callbacks."""
        return self._address if self.function is not None else ""

    def serve(self, address: str, keys: Sequence[bytes] = ()) -> None:
        """Take callbacks at an endpoint from now on. The server calls this.

        Args:
            address: The endpoint; empty if the agent is not served any more.
            keys: The keys of the tokens, the same in each process that serves the agent; by default a key of this
                process. The first one makes tokens. Tokens of each of them are accepted.
        """
        self._address = address
        self._keys = keys or self._keys

    def issue(self, data: Json = None) -> CallbackTask:
        """Return what asks another agent to call this one back. It has a new token.

        Args:
            data: A JSON value that comes back with the result.

        Raises:
            ConfigurationError: The agent declares no function with `@agent.on_callback`, or this process does not serve
                the agent at an address that others can call.
        """
        if self.function is None:
            raise ConfigurationError(
                f"the agent '{self._name}' takes no callbacks; declare a function with @agent.on_callback"
            )
        if not self._address:
            raise ConfigurationError(
                f"this process does not serve the agent '{self._name}' at an address that other agents can call; "
                "serve it, and set 'advertise' if it listens on all addresses"
            )
        body = secrets.token_bytes(NONCE_BYTES) + int(time.time()).to_bytes(TIME_BYTES)
        token = base64.urlsafe_b64encode(body + _mac(self._keys[0], body)).decode().rstrip("=")
        return CallbackTask(self._address, {Key.TOKEN: token}, data)

    def accepts(self, token: str) -> bool:
        """Return True if `issue` has made a token in the last 30 days, in this process or another one with its key.

        Args:
            token: The token.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return False
        body, mac = raw[: NONCE_BYTES + TIME_BYTES], raw[NONCE_BYTES + TIME_BYTES :]
        if not any(hmac.compare_digest(mac, _mac(key, body)) for key in self._keys):
            return False
        return 0 <= time.time() - int.from_bytes(body[NONCE_BYTES:]) + 60 <= LIFETIME_S + 60

    # -- results

    async def take(self, turn: Turn) -> Output:
        """Call the function with the result that a turn brings, then wake the programs that wait for it.

        Args:
            turn: The turn.
        """
        assert self.function is not None  # the skill exists because of it
        callback = Callback.of(turn)
        try:
            return await self.function(callback)
        finally:
            self._arrived(callback.task_id)

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when the result of a task arrives in this process, or has arrived lately.

        Args:
            task_id: The task at the other agent.
        """
        waiter = _Waiter(asyncio.get_running_loop(), asyncio.Event())
        waiters = self._waiting.setdefault(task_id, set())
        waiters.add(waiter)
        if task_id in self._known:
            waiter.event.set()
        try:
            yield waiter.event
        finally:
            waiters.discard(waiter)
            if not waiters:
                self._waiting.pop(task_id, None)

    def _arrived(self, task_id: str) -> None:
        self._known[task_id] = None
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        for waiter in tuple(self._waiting.get(task_id, ())):
            waiter.wake()


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(key, b"a2a-grpc callback\0" + body, hashlib.sha256)


def check_brings_result(message: Message) -> None:
    """Raise InvalidRequestError if a message for `@agent.on_callback` brings no result."""
    arrived_in(message)


@dataclass(frozen=True, eq=False, slots=True)
class _Waiter:
    """A program that waits, with its event loop, which may be one of another thread."""

    loop: asyncio.AbstractEventLoop
    event: asyncio.Event

    def wake(self) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.event.set)
