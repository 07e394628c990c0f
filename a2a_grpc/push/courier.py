"""The delivery of the events of one task to one push config."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from random import Random

from a2a_grpc.backoff import Backoff
from a2a_grpc.errors import TaskNotFoundError
from a2a_grpc.lifecycle import INTERRUPTED, SETTLED, TERMINAL
from a2a_grpc.log import Log
from a2a_grpc.offload import offload
from a2a_grpc.push.chosen import chosen
from a2a_grpc.push.delivery import Delivery, Destination, Outcome, Verdict
from a2a_grpc.push.origin import read
from a2a_grpc.push.schedule import Again, Dead, Done, Ended, after
from a2a_grpc.push.vault import LockedError, Vault
from a2a_grpc.store import Outbox, PushClaim, PushStep, Record, Snapshot, StoreUnavailable, Then
from a2a_grpc.wire import StreamResponse, Task, TaskPushNotificationConfig

logger = logging.getLogger("a2a_grpc.push")

IDLE_S = 5.0
"""Seconds between two looks whether the config of a task that waits for its user may rest."""
MAX_ERROR_CHARS = 500
BROKEN = Outcome(Verdict.RETRY, "the attempt ended in a mistake of this package; the server's log has the traceback")


class Courier:
    """Delivers what comes after the cursor of a config that was claimed, until the claim is given up.

    Guarantees:

    - The cursor moves only after the receiver has accepted the event.
    - Nothing is sent once the process does not know that its claim counts.

    Args:
        claim: The claim.
        log: The log of tasks.
        outbox: The store of the claim.
        vault: Decrypts the secrets of the config.
        destination: Sends the events.
        is_mine: A function that returns False once another replica may have the claim.
        sends_all: True if pieces of artifacts are sent, too.
        random: The source of the jitter of attempts.
    """

    def __init__(
        self,
        claim: PushClaim,
        log: Log,
        outbox: Outbox,
        vault: Vault,
        destination: Destination,
        *,
        is_mine: Callable[[], bool],
        sends_all: bool,
        random: Random,
    ) -> None:
        self.claim = claim
        self.begun_at = time.monotonic()
        """When the claim was made, by the clock of this process."""
        self.is_sending = False
        """True while an attempt is at work."""
        self.has_failed = False
        """True if the newest attempt has failed."""
        self.has_succeeded = False
        """True if an attempt has succeeded."""
        self.rests = False
        """True if the config rests now."""
        self._log = log
        self._outbox = outbox
        self._vault = vault
        self._destination = destination
        self._is_mine = is_mine
        self._sends_all = sends_all
        self._random = random
        self._key = claim.name.key
        self._seq = claim.seq
        self._attempts = claim.attempts
        self._denials = claim.denials

    async def carry(self) -> None:
        """Deliver until the claim is given up, or void."""
        backoff, broken = Backoff(0.2, 5.0), False
        while True:
            try:
                await (self._conclude(BROKEN, self._seq) if broken else self._carry())
                return
            except TaskNotFoundError:  # it was purged
                await self._step(Then.END)
                return
            except StoreUnavailable:
                await asyncio.sleep(backoff.next_s())
            except Exception:  # a mistake of ours: it counts as an attempt, so that it is not repeated for ever
                if broken:
                    raise
                broken = True
                names = self._key.id, self.claim.name.id
                logger.exception("a delivery failed and is repeated task=%s config=%s", *names)

    async def _carry(self) -> None:
        try:
            config = self._vault.open(self._key, self.claim.push.config, self.claim.push.secrets)
        except LockedError as locked:
            await self._die(str(locked), self._attempts)
            return
        while True:
            head = await self._log.head(self._key)
            is_over = head.state in TERMINAL
            if head.seq <= self._seq and (is_over or not head.replica):
                if await self._step(Then.REST) is not Then.KEEP:
                    return
                continue
            if not await self._follow(config, IDLE_S if head.state in INTERRUPTED else None):
                return

    async def _follow(self, config: TaskPushNotificationConfig, idle_s: float | None) -> bool:
        """Deliver the records after the cursor. Return False if the claim is given up, or True to look again."""
        with self._log.follow(self._key, self._seq, folds=self._destination.needs_settled(config)) as records:
            while True:
                try:
                    async with asyncio.timeout(idle_s):
                        batch = await records.batch()
                except TimeoutError:
                    return True
                if not batch:
                    return True
                if (is_kept := await self._send_batch(config, batch)) is not None:
                    return is_kept
                if idle_s is not None and self._seq >= batch[-1].seq:
                    return True  # if the cursor stays before the batch, the next batch may have what is sent

    async def _send_batch(self, config: TaskPushNotificationConfig, batch: Sequence[Record]) -> bool | None:
        """Send what a batch has for the receiver. Return None if the next batch follows, otherwise as `_follow`."""
        if self._destination.needs_settled(config):
            if batch[-1].state not in SETTLED:
                return None
            snapshot = await self._log.snapshot(self._key)
            return await self._send_task(config, snapshot) if snapshot.state in SETTLED else None
        while batch:
            record, is_behind = chosen(batch, sends_all=self._sends_all, has_failed=self._attempts > 0)
            if is_behind:
                return await self._send_task(config, await self._log.snapshot(self._key))
            if record is None:
                return None
            if record.at_us and record.state in SETTLED:
                snapshot = await self._log.snapshot(self._key)
                if snapshot.seq > record.seq:
                    return await self._send_task(config, snapshot)
                return await self._send_record(config, record, snapshot.task)
            if not await self._send_record(config, record):
                return False
            batch = [later for later in batch if later.seq > record.seq]
        return None

    async def _send_task(self, config: TaskPushNotificationConfig, snapshot: Snapshot) -> bool:
        task = await offload(len(snapshot.task), Task.FromString, snapshot.task)
        settled = task if snapshot.state in SETTLED else None
        return await self._send(config, snapshot.seq, StreamResponse(task=task), settled)

    async def _send_record(self, config: TaskPushNotificationConfig, record: Record, task: bytes = b"") -> bool:
        event = await offload(len(record.event), StreamResponse.FromString, record.event)
        settled = await offload(len(task), Task.FromString, task) if task else None
        return await self._send(config, record.seq, event, settled)

    async def _send(
        self, config: TaskPushNotificationConfig, seq: int, event: StreamResponse, settled: Task | None
    ) -> bool:
        """Make one attempt. Return True if the event was delivered and the claim is kept."""
        if not self._is_mine():
            return False
        version, origin = read(self.claim.push.version)
        delivery = Delivery(self._key.id, seq, config, event, version, self._attempts + 1, settled, origin)
        self.is_sending = True
        try:
            outcome = await self._destination.deliver(delivery)
        finally:
            self.is_sending = False
        return await self._conclude(outcome, seq, settled)

    async def _conclude(self, outcome: Outcome, seq: int, settled: Task | None = None) -> bool:
        """Do what follows from an attempt. Return True if the event was delivered and the claim is kept."""
        attempt = self._attempts + 1
        denials = self._denials + (outcome.verdict is Verdict.UNAUTHORIZED)
        match after(attempt, outcome, unauthorized=denials, random=self._random):
            case Done():
                self.has_succeeded = True
                self._seq, self._attempts, self._denials = seq, 0, 0
                return await self._step(Then.REST if settled is not None else Then.KEEP) is Then.KEEP
            case Again(wait_s):
                self.has_failed = True
                self._attempts, self._denials = attempt, denials
                await self._step(Then.WAIT, delay_s=wait_s, error=outcome.reason)
            case Ended():
                await self._step(Then.END)
            case Dead(reason):
                self.has_failed = True
                self._denials = denials
                await self._die(reason, attempt)
        return False

    async def _die(self, reason: str, attempts: int) -> None:
        self._attempts = attempts
        if await self._step(Then.DIE, error=reason) is not None:
            logger.warning(
                "deliveries to a push config are given up task=%s config=%s attempts=%d reason=%s",
                *(self._key.id, self.claim.name.id, attempts, reason),
            )

    async def _step(self, then: Then, *, delay_s: float = 0.0, error: str = "") -> Then | None:
        step = PushStep(
            *(self.claim.name, self.claim.epoch, self._seq, then, delay_s, self._attempts, self._denials),
            error[:MAX_ERROR_CHARS],
        )
        done, is_repeated = await self._stored(step)
        if is_repeated and then is Then.REST and done is Then.KEEP:
            # The first one may reach the store later. It must not have the config rest while this goes on.
            done, _ = await self._stored(step._replace(then=Then.WAIT))
        self.rests = done is Then.REST
        return done

    async def _stored(self, step: PushStep) -> tuple[Then | None, bool]:
        """Store a step, and try until the store confirms it. Nothing is sent meanwhile.

        A step that failed may have given the claim up. Then the repeated step is void.

        Returns:
            What happened to the claim, and True if the step was repeated.
        """
        backoff, is_repeated = Backoff(0.2, 5.0), False
        while True:
            try:
                return await self._outbox.step_push(step), is_repeated
            except StoreUnavailable:
                is_repeated = True
                await asyncio.sleep(backoff.next_s())
