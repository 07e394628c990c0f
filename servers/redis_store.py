"""An example of your own store, to copy with redis_store.lua: tasks in Redis, each write one atomic script.

    server = Server(agent, store=RedisStore.from_url("redis://127.0.0.1:6379/0"))

Redis runs a script alone, so a conditional append takes no lock. One fsync serves all clients that wait for it. Any
number of processes may share the store. Two guarantees depend on the configuration of Redis:

- Durability. With `appendonly yes` and `appendfsync always` an acknowledged record survives a crash of Redis. With
  `everysec`, the default of the append-only file, up to a second is lost. Without that file, minutes are lost.
- Room. All tasks are in memory. `maxmemory-policy` has to be `noeviction`, or tasks would vanish.

A failover is not safe. Replication is asynchronous, so a replica that is promoted may lack records that were
acknowledged. The example does not work on a cluster, as its scripts touch many keys. It needs Redis 6.2 or newer.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
)

from a2a_grpc.backoff import Backoff
from a2a_grpc.config import ConfigurationError
from a2a_grpc.lifecycle import fold
from a2a_grpc.store import (
    WHOLE,
    AlreadyBound,
    Append,
    Binding,
    Create,
    Head,
    InOrder,
    Listed,
    ListFilter,
    Note,
    Page,
    Pending,
    Position,
    QueueFull,
    Record,
    Scope,
    Snapshot,
    StaleAppend,
    StoreFull,
    StoreUnavailable,
    TaskKey,
    TaskView,
    Written,
)
from a2a_grpc.store.views import cut
from a2a_grpc.wire import Task

MAX_CONNECTIONS = 32
"""Calls at the same time. Further calls wait for their turn."""
LONG_TAIL = 64
"""After folding so many records, `load` stores a snapshot for the next reader of the task."""
FATAL = (AuthenticationError, OutOfMemoryError)
TRANSIENT = (ConnectionError, TimeoutError, ReadOnlyError)
TRANSIENT_REPLIES = ("BUSY", "LOADING", "MASTERDOWN", "MISCONF", "TRYAGAIN")

Answer = TypeVar("Answer")


class RedisStore:
    """Tasks in Redis.

    Guarantees, beyond those of a TaskStore:

    - A write is sent again after a lost connection, within `budget_s` seconds, and is done once: it carries a token,
      under which Redis keeps its answer for some minutes.
    - What an append costs does not grow with its task.
    """

    durable = shared = keeps_messages = True

    def __init__(self, redis: Redis, *, budget_s: float = 20.0) -> None:
        """`redis` gives bytes, has timeouts and does not retry by itself; the store closes it."""
        self._redis = redis
        self._budget_s = budget_s
        self._script = redis.register_script(Path(__file__).with_suffix(".lua").read_text())
        self._turns = asyncio.Semaphore(MAX_CONNECTIONS)  # first come, first served; the pool's own limit is not
        self._in_order = InOrder(self._perform)
        self._is_closed = False

    @classmethod
    def from_url(cls, url: str, *, budget_s: float = 20.0) -> Self:
        """Return a store for a URL: `redis://user:password@host:port/number`, `rediss://…` or `unix://…`."""
        try:
            redis = Redis.from_url(url, socket_connect_timeout=5.0, socket_timeout=5.0, retry=Retry(NoBackoff(), 0))
        except ValueError as error:
            raise ConfigurationError(f"the URL of the Redis store: {error}") from None
        return cls(redis, budget_s=budget_s)

    async def open(self) -> Collection[TaskKey]:
        try:
            memory = await self._retried(lambda: self._redis.info("memory"))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, AuthenticationError):
                raise ConfigurationError(f"Redis does not let the store in: {error.__cause__}") from None
            raise
        if (policy := memory["maxmemory_policy"]) != "noeviction":
            raise ConfigurationError(f"Redis has maxmemory-policy {policy}; tasks would vanish: set it to noeviction")
        return ()

    async def close(self) -> None:
        self._is_closed = True
        await self._in_order.finish()
        await self._redis.aclose()

    async def ping(self) -> None:
        try:
            await self._redis.set("a2a:ping", "1", ex=60)
        except (RedisError, OSError) as error:
            raise StoreUnavailable("Redis cannot be written") from error

    async def belong_to(self, agent: str) -> str:
        return str((await self._write("belong_to", agent)).decode())

    async def join(self, replica: str, lease_s: float) -> None:
        await self._write("join", replica, round(lease_s * 1e6))

    async def renew(self, replica: str, lease_s: float) -> bool:
        return bool(await self._write("renew", replica, round(lease_s * 1e6)))

    async def leave(self, replica: str) -> None:
        await self._write("leave", replica)

    async def orphaned(self, limit: int) -> list[TaskKey]:
        return [_key(name) for name in await self._read("orphaned", limit)]

    async def claimed_by(self, replica: str) -> list[TaskKey]:
        return [_key(name) for name in await self._read("claimed_by", replica)]

    async def needing_attention(self, replica: str) -> list[tuple[TaskKey, Head]]:
        return [(_key(name), _head(fields)) for name, fields in await self._read("needing_attention", replica)]

    def write(self, write: Create | Append) -> Written:
        return self._in_order.write(write)

    async def _perform(self, write: Create | Append) -> int:
        return await (self._create(write) if isinstance(write, Create) else self._append(write))

    async def _create(self, create: Create) -> int:
        key, record = create.key, create.record
        waits = (create.pending.turn, *_waiting(create.pending)) if create.pending else ("", "", "", "")
        opened = (_name(key), _scope(key.scope), key.id, create.context_id, create.replica, *_event(record))
        try:
            return int(await self._write("create", *opened, *_bound(key.scope, create.bind), *waits))
        except StoreUnavailable as error:
            if isinstance(error.__cause__, OutOfMemoryError):
                raise StoreFull("Redis has no memory for another task") from error
            raise

    async def _append(self, append: Append) -> int:
        key, record = append.key, append.record
        what = (_name(key), append.epoch, record.seq, *_event(record), append.done, int(append.release))
        kept = (append.keep.turn, *_waiting(append.keep)) if append.keep else ("", "", "", "")
        return int(await self._write("append", *what, *_bound(key.scope, append.bind), *kept))

    async def enqueue(
        self, key: TaskKey, pending: Pending, *, replica: str, limit: int, bind: tuple[str, Binding] | None = None
    ) -> Head | None:
        binding, fingerprint, task_id, _, reply = _bound(key.scope, bind)
        what = (_name(key), replica, limit, *_waiting(pending), binding, fingerprint, task_id, reply)
        return _head_if_any(await self._write("enqueue", *what))

    async def pending(self, key: TaskKey) -> list[Pending]:
        return [
            Pending(turn, fields[b"skill"].decode(), fields[b"request"], fields[b"caller"].decode())
            for turn, fields in map(_entry, await self._read("pending", _name(key)))
        ]

    async def claim(self, key: TaskKey, replica: str, *, force: bool = False) -> Head | None:
        return _head_if_any(await self._write("claim", _name(key), replica, int(force)))

    async def release(self, key: TaskKey, epoch: int) -> None:
        await self._write("release", _name(key), epoch)

    async def request_cancel(self, key: TaskKey, metadata: bytes) -> Head | None:
        return _head_if_any(await self._write("request_cancel", _name(key), metadata))

    async def put_note(self, key: TaskKey, note: Note, *, epoch: int) -> None:
        await self._write("put_note", _name(key), epoch, _field(note.turn, note.name), note.value)

    async def get_note(self, key: TaskKey, turn: int, name: str) -> bytes | None:
        value: bytes | None = await self._read("get_note", _name(key), _field(turn, name))
        return value

    async def note_sizes(self, key: TaskKey, turn: int) -> dict[str, int]:
        found = await self._read("note_sizes", _name(key), turn)
        return {name.decode(): size for name, size in zip(found[::2], found[1::2], strict=True)}

    async def head(self, key: TaskKey) -> Head | None:
        return _head_if_any(await self._read("head", _name(key)))

    async def load(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot | None:
        whole = await self._fold(_name(key), *await self._read("load", _name(key)))
        return whole and whole._replace(task=cut(whole.task, view))

    async def read(self, key: TaskKey, after: int, limit: int) -> list[Record] | None:
        entries = await self._read("read", _name(key), after, limit)
        return None if entries is None else [_record(entry) for entry in entries]

    async def seqs(self, keys: Sequence[TaskKey]) -> list[int]:
        seqs: list[int] = []
        for start in range(0, len(keys), 1000):  # a script takes a bounded number of arguments
            seqs += map(int, await self._read("seqs", *map(_name, keys[start : start + 1000])))
        return seqs

    async def waiting_longer(self, than_s: float, limit: int) -> list[TaskKey]:
        return [_key(name) for name in await self._read("waiting_longer", round(than_s * 1e6), limit)]

    async def count_waiting(self) -> int:
        return int(await self._read("count_waiting"))

    async def list(
        self,
        scope: Scope,
        where: ListFilter,
        after: Position | None,
        limit: int,
        *,
        view: TaskView = WHOLE,
        max_bytes: int | None = None,
    ) -> Page:
        newest = f"({_digits(after.at_us)}{after.id}" if after else "+"
        conditions = (_scope(scope), where.state, where.context_id, f"[{_digits(where.since_us)}", newest)
        total, more, members = await self._read("list", *conditions, limit)
        tasks: list[Listed] = []
        for member in members:  # one at a time: what is loaded beyond `max_bytes` is one task at most
            position = Position(int(member[:20]), member[20:].decode())
            if (snapshot := await self.load(TaskKey(*scope, position.id), view)) is None:
                continue  # it was purged meanwhile
            if max_bytes is not None:
                max_bytes -= len(snapshot.task)
                if max_bytes < 0 and tasks:
                    return Page(tasks, total, True)
            tasks.append(Listed(position, snapshot))
        return Page(tasks, total, bool(more))

    async def bind(self, scope: Scope, key: str, binding: Binding) -> None:
        await self._write("bind", *_bound(scope, (key, binding)))

    async def bound(self, scope: Scope, key: str) -> Binding | None:
        fields = await self._read("bound", _scope(scope) + key)
        return _binding(fields) if fields else None

    async def forget(self, *, bound_age_s: float, limit: int) -> int:
        return int(await self._write("forget", int(bound_age_s * 1e6), limit))

    async def purge(self, *, ended_age_s: float, keep: int, limit: int) -> int:
        return int(await self._write("purge", int(ended_age_s * 1e6), keep, limit))

    async def _fold(self, name: str, known: Sequence[Any], entries: Sequence[Any]) -> Snapshot | None:
        """Return the task that a stored snapshot and the records after it make."""
        tail = [_record(entry) for entry in entries]
        task, seq, state, turn = Task(), 0, 0, 0
        if known[0] is not None:
            task, (seq, state, turn) = Task.FromString(known[3]), map(int, known[:3])
        if tail:
            fold(task, (record.unpack() for record in tail))
            seq, state, turn = tail[-1].seq, tail[-1].state, tail[-1].turn
        if not seq:
            return None
        snapshot = Snapshot(seq, task.SerializeToString(), state, turn)  # type: ignore[arg-type]
        if len(tail) >= LONG_TAIL:
            await self._write("keep", name, seq, state, turn, snapshot.task)
        return snapshot

    async def _read(self, function: str, *arguments: str | bytes | int) -> Any:
        return await self._retried(lambda: self._script(args=[function, *arguments]))

    async def _write(self, function: str, *arguments: str | bytes | int) -> Any:
        """Return the answer of the function. Raise the errors of a TaskStore if nothing was written."""
        token = f"a2a:reply:{uuid.uuid4().hex}"
        match await self._retried(lambda: self._script(keys=[token], args=[function, *arguments])):
            case [b"ok", answer]:
                return answer
            case [b"bound", fields]:
                raise AlreadyBound(_binding(fields))
            case [b"full", waiting]:
                raise QueueFull(waiting)
            case [b"stale"]:
                raise StaleAppend
        return None

    async def _retried(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        backoff, end = Backoff(0.05, 1.0), time.monotonic() + self._budget_s
        while True:
            try:
                async with self._turns:
                    if self._is_closed:
                        raise StoreUnavailable("the store is closed")
                    return await ask()
            except FATAL as error:
                raise StoreUnavailable("Redis refuses") from error
            except (*TRANSIENT, ResponseError, OSError) as error:
                if isinstance(error, ResponseError) and not _is_transient(error):
                    raise
                if time.monotonic() > end:
                    raise StoreUnavailable(f"Redis did not answer within {self._budget_s:g} s") from error
            await asyncio.sleep(backoff.next_s())


def _is_transient(error: ResponseError) -> bool:
    return isinstance(error, TRANSIENT) or str(error).startswith(TRANSIENT_REPLIES)


def _scope(scope: Scope) -> str:
    return f"{len(scope.tenant)}:{len(scope.owner)}:{scope.tenant}{scope.owner}"


def _name(key: TaskKey) -> str:
    return _scope(key.scope) + key.id


def _field(turn: int, name: str) -> str:
    """Return the name of a note in the hash of its task."""
    return f"{turn} {name}"


def _key(name: bytes) -> TaskKey:
    tenant, owner, text = name.decode().split(":", 2)
    end = int(tenant) + int(owner)
    return TaskKey(text[: int(tenant)], text[int(tenant) : end], text[end:])


def _digits(at_us: int) -> str:
    """Return a time as a text that sorts as the number does."""
    return f"{at_us:020}"


def _event(record: Record) -> tuple[int, int, str, bytes, bytes]:
    return record.state, record.turn, _digits(record.at_us), record.event, record.message


def _waiting(pending: Pending) -> tuple[str, bytes, str]:
    return pending.skill, pending.request, pending.caller


def _bound(scope: Scope, bind: tuple[str, Binding] | None) -> tuple[str, bytes, str, int, bytes]:
    key, binding = bind or ("", Binding(b""))
    return _scope(scope) + key if bind else "", *binding


def _entry(entry: Sequence[Any]) -> tuple[int, dict[bytes, bytes]]:
    """Return the number and the fields of an entry of a stream."""
    place, fields = entry
    return int(place.partition(b"-")[2]), dict(zip(fields[::2], fields[1::2], strict=True))


def _record(entry: Sequence[Any]) -> Record:
    seq, fields = _entry(entry)
    state, turn, at_us = int(fields[b"state"]), int(fields[b"turn"]), int(fields[b"at"])
    return Record(seq, fields[b"event"], state, turn, at_us, fields[b"message"])  # type: ignore[arg-type]


def _head_if_any(fields: Sequence[Any] | None) -> Head | None:
    return None if fields is None else _head(fields)


def _head(fields: Sequence[Any]) -> Head:
    seq, state, turn, epoch, context, size, last_turn, attempt, replica, is_lost, cancel = fields
    where = context.decode(), size, last_turn, attempt, replica.decode(), bool(is_lost), cancel
    return Head(seq, state, turn, epoch, *where)


def _binding(fields: Sequence[Any]) -> Binding:
    fingerprint, task_id, turn, reply = fields
    return Binding(fingerprint, task_id.decode(), int(turn), reply)
