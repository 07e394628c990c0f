"""The time for which a client tries again, with one object for each wait of a caller."""

import asyncio

from a2a_grpc.backoff import Backoff
from a2a_grpc.client.contact import Contact
from a2a_grpc.client.disconnects import Passing, is_refused_for_now, is_unsent
from a2a_grpc.client.errors import ConnectionLostError, CredentialsUnavailableError
from a2a_grpc.errors import ResourceExhaustedError


class RetryPolicy:
    """Waits between tries, and ends when there were enough.

    An agent that was never reached is waited for `connect_timeout_s`. An agent that was reached is waited for
    `give_up_after_s` since the first failure after the last contact. With `within_s` all tries together have no more
    time than that; with `max_retries` there are no more retries than that.

    If a limit of the agent refuses the call, the delay is the time that the agent gives, plus a short one. So calls
    that were refused together do not come back together. A delay longer than `timeout_s` is not waited for.
    """

    def __init__(self, contact: Contact, *, within_s: float | None = None, max_retries: int | None = None) -> None:
        settings = contact.settings
        self._contact = contact
        self._timeout_s = settings.timeout_s
        self._give_up_after_s = settings.give_up_after_s
        self._connect_timeout_s = min(settings.connect_timeout_s, within_s or settings.connect_timeout_s)
        self._max_retries = max_retries
        self._backoff = Backoff(settings.retry_initial_s, settings.retry_maximum_s)
        self._tries = 0
        self._now = asyncio.get_running_loop().time
        self._begun = self._now()
        self._until = None if within_s is None else self._begun + within_s
        self._since: float | None = None
        self._waits_for: Passing | None = None
        self._due = 0.0
        self.may_have_acted = False
        """True once a try has failed that may have reached the agent."""

    @property
    def left_s(self) -> float | None:
        """Seconds that are left for all tries, negative once there are none; None if there is no limit."""
        return None if self._until is None else self._until - self._now()

    def renew(self) -> None:
        """Record a contact. The time then counts from the next failure."""
        self._since = None

    def progressed(self) -> None:
        """Record progress. The next delay is then a short one."""
        self._tries = 0
        self._backoff.reset()

    async def wait(self, error: Passing) -> None:
        """Wait until the next try. Raise if there is none: the error itself, or UnreachableError.

        If the caller cancels the wait, the next wait for the same error is the rest of it.
        """
        if error is not self._waits_for:
            delay_s = await self._delay_s(error)
            self._waits_for, self._due = error, self._now() + delay_s
        await asyncio.sleep(self._due - self._now())
        self._waits_for = None

    async def _delay_s(self, error: Passing) -> float:
        if isinstance(error, CredentialsUnavailableError) and not self._contact.was_reached:
            raise error
        self._tries += 1
        self.may_have_acted |= not is_unsent(error)
        now = self._now()
        since = self._since = now if self._since is None else self._since
        is_full, asked_s, own_s = is_refused_for_now(error), error.retry_after_s or 0.0, self._backoff.next_s()
        delay_s = asked_s + own_s if is_full else max(own_s, asked_s)
        if is_full and asked_s > self._timeout_s:
            raise error
        if isinstance(error, ResourceExhaustedError) or self._contact.was_reached:
            end = since + self._give_up_after_s
            if self._until is not None:  # an agent that answers UNAVAILABLE, or that it is full, is in contact
                end = min(end, self._until) if isinstance(error, ConnectionLostError) else self._until
            if now + delay_s > end or (self._max_retries is not None and self._tries > self._max_retries):
                raise error
            limit_s = end - since
        else:
            limit_s = self._connect_timeout_s
            left_s = limit_s - (now - self._begun)
            is_last = delay_s > left_s
            if is_last or self._tries == 1:
                found = await self._contact.unreachable(error, left_s)
                if is_last:
                    raise found from error
        self._contact.failed(error, limit_s)
        return delay_s
