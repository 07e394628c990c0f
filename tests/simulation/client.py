"""What users do, in the way of good clients: again elsewhere after a failure, with the same key, from the last seq."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, TypeVar

from a2a_grpc.engine import AcceptedTurn, SendCall
from a2a_grpc.errors import (
    A2AError,
    ResourceExhaustedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnavailableError,
    UnsupportedOperationError,
)
from a2a_grpc.principal import Principal
from a2a_grpc.store import Record, Snapshot, StoreUnavailable, TaskKey
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.harness import message, request
from tests.simulation.history import Ack, Cancel, Delete, Follow, Read, Refusal, Send
from tests.simulation.replica import Gone, SimulatedReplica

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

AGAIN = (Gone, TimeoutError, StoreUnavailable, UnavailableError, ResourceExhaustedError)
"""After which a client tries again."""
TRIES = 200


class GaveUp(Exception):
    """Of a call that did not succeed for so long that it should have."""


class Client:
    """One user."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self._name = name
        self._random: Random = world.random
        self._history = world.history
        self._count = 0
        self._configs: list[str] = []
        """The push configs of the task."""

    @property
    def _now(self) -> float:
        return self._world.loop.time()

    async def _surely(self, ask: Callable[[SimulatedReplica], Awaitable[T]], what: str, patience_s: float = 2.0) -> T:
        """Asks one replica after the other until one answers."""
        for _ in range(TRIES):
            try:
                replica = self._world.pick()
                patience = self._random.uniform(0.0, 0.05) if self._world.impatient() else patience_s
                return await replica.call(lambda: ask(replica), what, patience)  # noqa: B023
            except AGAIN:
                await asyncio.sleep(self._random.uniform(0.01, 0.2))
            except A2AError:
                raise
            except Exception as error:
                self._history.complaints.append(f"{what} raised {error!r}, which is not for callers")
                await asyncio.sleep(0.1)
        raise GaveUp(what)

    async def send(self, script: str, task_id: str = "") -> AcceptedTurn | None:
        """A message, sent until it is accepted or refused for good; now and then through two replicas at a time."""
        self._count += 1
        sent = f"{self._name}-{self._count}"
        if self._random.random() < 0.25:
            first, second = await asyncio.gather(self._send(sent, script, task_id), self._send(sent, script, task_id))
            return first or second
        return await self._send(sent, script, task_id)

    async def _send(self, sent: str, script: str, task_id: str) -> AcceptedTurn | None:
        waits = self._random.random() < 0.3
        wanted = [config_of(sent)] if not task_id and self._random.random() < 0.8 else []

        async def ask(replica: SimulatedReplica) -> tuple[AcceptedTurn, Snapshot | None]:
            sending = request(message(script, task_id=task_id, message_id=sent))
            call = SendCall(Principal(), sending, f"key-{sent}", waits)
            if wanted:
                call.pushes = replica.configs.inline(wanted, "1.0")
            accepted = await replica.engine.accept(call)
            assert isinstance(accepted, AcceptedTurn)
            if wanted:
                self._configs.append(sent)
                replica.configs.look()
            if task_id:
                replica.configs.look_at(accepted.key)
            return accepted, await self._settled(replica, accepted) if waits else None

        asked = self._now
        try:
            accepted, found = await self._surely(ask, "send", 30.0 if waits else 2.0)
        except (UnsupportedOperationError, TaskNotFoundError) as error:
            if isinstance(error, TaskNotFoundError) and not self._world.store.is_purged(task_id):
                raise
            self._history.refusals.append(Refusal(self._now, sent, task_id))
            return None
        self._history.sends.append(Send(self._now, f"key-{sent}", sent, accepted.key.id, accepted.turn))
        if found is None:
            self._read(asked, accepted.key, accepted.snapshot)
        else:
            self._history.settles += 1
            self._read(0.0, accepted.key, found)  # it may be history
        return accepted

    async def _settled(self, replica: SimulatedReplica, accepted: AcceptedTurn) -> Snapshot | None:
        """The task once the turn is over, as a blocking send gives it; None if the task ended before."""
        try:
            return await replica.engine.settled(accepted)
        except UnsupportedOperationError:
            return None

    def _read(self, asked: float, key: TaskKey, snapshot: Snapshot) -> None:
        self._history.reads.append(Read(asked, self._now, key.id, snapshot.seq, snapshot.task))

    async def read(self, key: TaskKey) -> None:
        asked = self._now
        self._read(asked, key, await self._surely(lambda replica: replica.engine.log.snapshot(key), "read"))

    async def settle(self, accepted: AcceptedTurn) -> None:
        """Waits for the end of a turn, as a blocking send does."""
        try:
            found = await self._surely(lambda replica: replica.engine.settled(accepted), "settle", patience_s=30.0)
        except UnsupportedOperationError:
            return  # the task ended before
        self._history.reads.append(Read(0.0, self._now, accepted.key.id, found.seq, found.task))  # it may be history

    async def ask_for_notifications(self, key: TaskKey) -> None:
        """Add a push config to a task that is there."""
        self._count += 1
        config = config_of(f"{self._name}-{self._count}")
        await self._surely(lambda replica: replica.configs.create(key, config, "1.0"), "create a config")
        if self._random.random() < 0.5:  # while a replica claims it
            await asyncio.sleep(self._random.random() * 0.02)
            await self.end_notifications(key, config.id)
        else:
            self._configs.append(config.id)

    async def end_notifications(self, key: TaskKey, config: str) -> None:
        """Delete a push config of a task."""

        async def ask(replica: SimulatedReplica) -> None:
            await replica.configs.delete(key, config)
            self._history.deletes.append(Delete(self._now, key.id, config, replica.name))

        await self._surely(ask, "delete a config")

    async def cancel(self, key: TaskKey) -> None:
        asked = self._now
        try:
            ended = await self._surely(lambda replica: replica.engine.cancel(key), "cancel", patience_s=4.0)
        except TaskNotCancelableError:
            self._history.cancels.append(Cancel(asked, self._now, key.id, None))
            return
        self._history.cancels.append(Cancel(asked, self._now, key.id, ended.state))
        await self.read(key)

    async def follow(self, key: TaskKey, after: int) -> None:
        """Reads a log to the end of its task, over as many connections as it takes."""
        follow = Follow(key.id, after)
        self._history.follows.append(follow)
        while True:
            connection = _Connection(self._world, follow)
            last = follow.records[-1].seq if follow.records else after
            patience_s = self._random.uniform(0.2, 2.0) if self._world.impatient(0.3) else 60.0
            try:
                replica = self._world.pick()
                await replica.call(
                    lambda: connection.carry(replica, key, last),  # noqa: B023
                    "follow",
                    patience_s,
                )
                follow.is_complete = True
                return
            except AGAIN:
                await asyncio.sleep(self._random.uniform(0.01, 0.2))
            except Exception as error:
                self._history.complaints.append(f"follow raised {error!r}, which is not for callers")
                return
            finally:
                connection.is_open = False

    # -- a user's story

    async def live(self, story_s: float) -> None:
        """Sends a script, then does something about its task now and then."""
        random = self._random
        await asyncio.sleep(random.uniform(0.0, story_s * 0.7))
        pours = random.random() < 0.3
        accepted = await self.send("p" * pours + random_script(random))
        if accepted is None:
            return
        async with asyncio.TaskGroup() as group:
            for _ in range(random.choice((0, 1, 1, 2))):
                group.create_task(self.follow(accepted.key, random.choice((0, 0, accepted.snapshot.seq))))
            if random.random() < 0.3:
                group.create_task(self.settle(accepted))
            for _ in range(random.randint(0, 4)):
                await asyncio.sleep(random.expovariate(3.0))
                await self._act(accepted, group)
        if random.random() < 0.3:
            self._world.purge(accepted.key)

    async def _act(self, accepted: AcceptedTurn, group: asyncio.TaskGroup) -> None:
        random = self._random
        kind = random.random()
        if kind < 0.55:
            again = await self.send(random_script(random).replace("q", random.choice("qz")), accepted.key.id)
            if again is not None and random.random() < 0.3:
                group.create_task(self.settle(again))
        elif kind < 0.7:
            await self.cancel(accepted.key)
        elif kind < 0.8:
            await self.read(accepted.key)
        elif kind < 0.87:
            await self.ask_for_notifications(accepted.key)
        elif kind < 0.97 and self._configs:
            await self.end_notifications(accepted.key, random.choice(self._configs))
        else:
            group.create_task(self.follow(accepted.key, 0))


class _Connection:
    """One stream of a follower. What arrives after the client has left is not its any more."""

    def __init__(self, world: "World", follow: Follow) -> None:
        self.is_open = True
        self._world = world
        self._follow = follow

    async def carry(self, replica: SimulatedReplica, key: TaskKey, after: int) -> None:
        with replica.engine.log.follow(key, after) as records:
            async for record in records:
                if self.is_open:
                    self._deliver(key, record)

    def _deliver(self, key: TaskKey, record: Record) -> None:
        self._follow.records.append(record)
        self._world.history.acks.append(Ack(self._world.loop.time(), key.id, record))


def config_of(name: str) -> TaskPushNotificationConfig:
    """Return a push config with a receiver of its own."""
    return TaskPushNotificationConfig(id=name, url=f"https://{name}.example/")


def random_script(random: Random) -> str:
    """A few steps, with an end."""
    steps = "".join(random.choices("ctzs", weights=(5, 1, 4, 2), k=random.randint(0, 6)))
    if random.random() < 0.3:
        steps += "q" + "".join(random.choices("cz", k=random.randint(0, 3)))
    return steps + random.choices(".if", weights=(6, 3, 1))[0]
