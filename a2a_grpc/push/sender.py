"""The deliveries of this process: it claims push configs, and gives each of them a courier."""

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from random import Random
from typing import Protocol
from urllib.parse import urlsplit

from a2a_grpc.bus import Bus
from a2a_grpc.log import Log
from a2a_grpc.push.courier import Courier
from a2a_grpc.push.delivery import Destination
from a2a_grpc.push.vault import Vault
from a2a_grpc.store import Outbox, PushClaim, PushName, PushStep, TaskKey, Then
from a2a_grpc.wire import TaskPushNotificationConfig

logger = logging.getLogger("a2a_grpc.push")

CONFIGS = "a2a-grpc:push"
"""Bus key: woken when a config was deleted or replaced."""
PAGE = 200
"""Configs that are claimed at a time."""
MAX_COURIERS = 10_000
"""Configs that this process has claimed at a time."""
MAX_PER_FAILING_HOST = 32
"""Configs of one host that are claimed at a time, while the newest attempt at the host has failed."""
PUT_BACK_S = 15.0
"""About how many seconds such a config waits that is one too many."""
KNOWN_HOSTS = 10_000
KNOWN_TASKS = 100_000


class Holder(Protocol):
    """This process among those that share a store."""

    id: str
    """The name of its present life."""

    @property
    def is_joined(self) -> bool:
        """True once the store has the name of the present life."""

    @property
    def is_alive(self) -> bool:
        """True while no other process may take over what this one has claimed."""

    def on_end(self, call: Callable[[], None]) -> None:
        """Call a function each time that `is_alive` becomes False."""


class Sender:
    """Delivers push notifications.

    Guarantees:

    - A config is delivered by one process at a time. If the process is lost, another one goes on after the lease. All
      attempts of a process end when its lease ends, before the store says so.
    - Events of a config are sent in order, each until its receiver has accepted it. Only what is older than the current
      task may be left out.
    - A receiver that is slow or away delays no other receiver, except those of its own host.
    - A config that was deleted is sent nothing more, in this process at once, in others within a second. The same holds
      for the former form of a config that was replaced: until then two processes may send to it.

    Args:
        log: The log of tasks.
        outbox: The store of the configs.
        vault: Decrypts the secrets of configs.
        destination: Sends events.
        holder: This process.
        sends_all: True if pieces of artifacts are sent, too.
    """

    def __init__(
        self, log: Log, outbox: Outbox, vault: Vault, destination: Destination, holder: Holder, *, sends_all: bool
    ) -> None:
        self._log = log
        self._bus: Bus = log.bus
        self._outbox = outbox
        self._vault = vault
        self._destination = destination
        self._holder = holder
        self._me = ""
        """The name in whose claims this process delivers; empty once its lease has ended."""
        self._sends_all = sends_all
        self._random = Random()
        self._at_work: dict[PushName, tuple[Courier, asyncio.Task[None]]] = {}
        self._hosts: Counter[str] = Counter()
        self._failing: OrderedDict[str, None] = OrderedDict()
        self._resting: OrderedDict[TaskKey, None] = OrderedDict()
        self._forgotten: set[PushName] = set()
        """Configs that were deleted or replaced while claims are read."""
        holder.on_end(self._end_all)
        self._listening = ExitStack()
        self.topic = self._listening.enter_context(self._bus.listen(CONFIGS))
        """Woken when a round should not wait."""
        self._is_stopping = False

    def __len__(self) -> int:
        """Return the number of configs that are claimed."""
        return len(self._at_work)

    @property
    def oldest_s(self) -> float:
        """Seconds since the oldest of the claims was made; 0 without claims."""
        begun = [courier.begun_at for courier, _ in tuple(self._at_work.values())]
        return time.monotonic() - min(begun) if begun else 0.0

    def look(self) -> None:
        """Have the next round come at once, as a config may be due."""
        self.topic.wake()

    def look_at(self, key: TaskKey) -> None:
        """Do the same if a config of this task rests, as the task goes on."""
        if self._resting.pop(key, self) is None:
            self.look()

    def forget(self, name: PushName) -> None:
        """End the delivery of a config that was deleted or replaced, here at once, and in other processes soon."""
        self._forgotten.add(name)
        if (found := self._at_work.get(name)) is not None:
            found[1].cancel()
        self._bus.wake(CONFIGS)

    def _end_all(self) -> None:
        """End all deliveries, as the claims of this process end with its lease."""
        self._me = ""
        for _, task in self._at_work.values():
            task.cancel()

    async def round(self) -> None:
        """Claim what is due. End what this process may not deliver any more."""
        self._forgotten.clear()  # no claims are on their way now
        if self._is_stopping or not (self._holder.is_joined and self._holder.is_alive):
            return
        me = self._me = self._holder.id
        await self._compare(me)
        while (room := min(PAGE, MAX_COURIERS - len(self._at_work))) > 0 and not self._is_stopping:
            self._forgotten.clear()
            claims = await self._outbox.claim_pushes(me, room)
            for claim in claims:
                if self._me != me:
                    return  # the claims have ended with the lease
                if claim.name not in self._forgotten:  # otherwise the next round gives the claim back, if it counts
                    await self._begin(me, claim)
            if len(claims) < room:
                break

    async def _compare(self, me: str) -> None:
        """End the couriers whose configs were deleted or taken over. Give claims back that have no courier."""
        before = dict(self._at_work)
        claimed = {step.name: step for step in await self._outbox.claimed_pushes(me)}
        for name, (courier, task) in before.items():
            if name not in claimed or claimed[name].epoch != courier.claim.epoch:
                task.cancel()
        for name, step in claimed.items():
            if name not in before and name not in self._at_work:
                await self._outbox.step_push(step)

    async def _begin(self, me: str, claim: PushClaim) -> None:
        config = TaskPushNotificationConfig.FromString(claim.push.config)
        host = urlsplit(config.url).netloc.lower()
        if host in self._failing and self._hosts[host] >= MAX_PER_FAILING_HOST:
            delay_s = PUT_BACK_S * self._random.uniform(0.5, 1.5)
            step = PushStep(claim.name, claim.epoch, claim.seq, Then.WAIT, delay_s, claim.attempts, claim.denials)
            await self._outbox.step_push(step)
            return
        holder = self._holder
        courier = Courier(
            claim,
            *(self._log, self._outbox, self._vault, self._destination),
            is_mine=lambda: self._me == me and holder.is_alive,
            sends_all=self._sends_all,
            random=self._random,
        )
        if (former := self._at_work.get(claim.name)) is not None:
            former[1].cancel()  # the config was replaced, and its former claim is void
        carrying = asyncio.create_task(courier.carry(), name=f"a2a-grpc:push:{claim.name.key.id}")
        self._at_work[claim.name] = courier, carrying
        self._hosts[host] += 1
        carrying.add_done_callback(lambda done: self._finish(host, courier, done))

    def _finish(self, host: str, courier: Courier, done: "asyncio.Task[None]") -> None:
        """Take note of the end of a courier."""
        name = courier.claim.name
        if (found := self._at_work.get(name)) is not None and found[0] is courier:
            del self._at_work[name]
        self._hosts[host] -= 1
        if not self._hosts[host]:
            del self._hosts[host]
        if done.cancelled():
            return
        if (error := done.exception()) is not None:
            logger.error("a delivery failed and is repeated task=%s config=%s", name.key.id, name.id, exc_info=error)
            return
        if courier.has_failed:
            self._failing[host] = None
            if len(self._failing) > KNOWN_HOSTS:
                self._failing.popitem(last=False)
        elif courier.has_succeeded:
            self._failing.pop(host, None)
        if courier.rests:
            self._resting[name.key] = None
            if len(self._resting) > KNOWN_TASKS:
                self._resting.popitem(last=False)

    async def stop(self, within_s: float) -> None:
        """End all deliveries. Attempts that are at work may go on for so long. What is not delivered is left to other
        processes, or to the next start.

        Args:
            within_s: Seconds for the attempts that are at work.
        """
        self._is_stopping = True
        idle = [task for courier, task in self._at_work.values() if not courier.is_sending]
        for task in idle:
            task.cancel()
        sending = {task for courier, task in self._at_work.values() if courier.is_sending}
        if sending:
            await asyncio.wait(sending, timeout=within_s)
        left = [task for _, task in self._at_work.values()]
        for task in left:
            task.cancel()
        if waiting := {*idle, *left}:
            await asyncio.wait(waiting, timeout=1.0)
        self._listening.close()
        await self._destination.close()
