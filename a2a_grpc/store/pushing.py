"""The values of the outbox of a store."""

from enum import IntEnum
from typing import NamedTuple

from a2a_grpc.store.values import TaskKey
from a2a_grpc.store.writes import Push as Push


class PushName(NamedTuple):
    """The full name of a push config.

    Attributes:
        key: The name of its task.
        id: The id of the config.
    """

    key: TaskKey
    id: str


class PushClaim(NamedTuple):
    """A push config that a replica has claimed.

    Attributes:
        name: The name of the config.
        push: The config.
        epoch: The number of the claim. Each claim of the config has a greater one.
        seq: The cursor: the newest record that was delivered.
        attempts: The number of attempts that have failed since then.
        denials: The number of these attempts in which the receiver did not accept the credentials.
    """

    name: PushName
    push: Push
    epoch: int
    seq: int
    attempts: int
    denials: int


class Then(IntEnum):
    """What happens to the claim of a push config.

    Attributes:
        KEEP: The replica keeps the claim.
        WAIT: The config is due again after `delay_s`.
        REST: The config rests if its task is free and has no record after the cursor.
        END: The config has ended.
        DIE: The config is dead.
    """

    KEEP = 0
    WAIT = 1
    REST = 2
    END = 3
    DIE = 4


class PushStep(NamedTuple):
    """What came of a claim.

    Attributes:
        name: The name of the config.
        epoch: The number of the claim.
        seq: The new cursor.
        then: What happens to the claim.
        delay_s: Seconds until the config is due again, for `Then.WAIT`.
        attempts: The number of attempts that have failed since the cursor moved.
        denials: The number of these attempts in which the receiver did not accept the credentials.
        error: Why the newest attempt failed; empty if it did not.
    """

    name: PushName
    epoch: int
    seq: int
    then: Then = Then.KEEP
    delay_s: float = 0.0
    attempts: int = 0
    denials: int = 0
    error: str = ""


class DeadPush(NamedTuple):
    """A push config whose deliveries were given up.

    Attributes:
        name: The name of the config.
        push: The config.
        seq: The newest record that was delivered.
        attempts: The number of attempts that have failed since then.
        error: Why the last attempt failed.
        at_us: When the config died, in microseconds since 1970 (UTC).
    """

    name: PushName
    push: Push
    seq: int
    attempts: int
    error: str
    at_us: int


class TooManyPushes(Exception):
    """The task has the largest allowed number of push configs already. Nothing was written.

    Args:
        count: The number of configs.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"the task has {count} push configs")
        self.count = count
