"""Find out who calls: ask one authenticator after the other, and limit what each caller may do."""

import copy
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

from a2a_grpc.auth.protocol import EXPIRED, INVALID, Authenticator, CallCredentials, Described, Opened, Refused
from a2a_grpc.auth.rates import Rates
from a2a_grpc.errors import A2AError, ResourceExhaustedError, UnauthenticatedError
from a2a_grpc.harmless import one_line
from a2a_grpc.principal import Principal
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.auth")

NOBODY = Principal()
"""The caller of a call that shows no credentials."""
AUTHORIZATION = "authorization"
MISSING = "missing"
"""The reason of a refusal of a call without credentials."""


async def anonymous(credentials: CallCredentials) -> Principal | None:
    """Return an anonymous caller, unless the call has an entry `authorization`.

    This is an authenticator for servers that serve anonymous callers in addition to others. It has to be the last one.

    Args:
        credentials: The metadata, the certificate and the address of the call.
    """
    return None if AUTHORIZATION in credentials.metadata else NOBODY


async def everyone(credentials: CallCredentials) -> Principal | None:
    """Return an anonymous caller, also if the call shows credentials.

    Args:
        credentials: The metadata, the certificate and the address of the call.
    """
    return NOBODY


class Callers:
    """Turns the credentials of a call into a principal.

    Guarantees:

    - Without authenticators every caller is anonymous. With authenticators no caller is, unless `anonymous` is the last
      of them.
    - All refusals have one text. The reason is in the log, without anything of the credentials.
    - An address has at most `failures_per_minute` refusals a minute; 0 is no limit. Further calls with invalid
      credentials are RESOURCE_EXHAUSTED. Calls with valid credentials are not affected.
    - A caller has at most `calls_per_second` calls a second on average, and `calls_burst` at once. Anonymous callers
      are limited by their addresses.
    """

    def __init__(
        self,
        authenticators: Sequence[Authenticator] = (),
        *,
        failures_per_minute: float = 600,
        calls_per_second: float = 0,
        calls_burst: float = 0,
    ) -> None:
        self._authenticators = tuple(authenticators)
        self._failures = Rates(failures_per_minute / 60, failures_per_minute) if failures_per_minute else None
        self._calls = Rates(calls_per_second, calls_burst or 2 * calls_per_second) if calls_per_second else None
        self._lines = Throttle(logger)
        self._challenges = tuple(
            dict.fromkeys(
                challenge
                for authenticator in self._authenticators
                if isinstance(authenticator, Described) and (challenge := authenticator.challenge())
            )
        )
        self._open = AsyncExitStack()
        self.refused: Counter[str] = Counter()
        """The number of refused calls, by reason: "missing", "invalid_token" or "expired"."""

    def after(self, authenticator: Authenticator) -> "Callers":
        """Return the same callers with the same limits, after another authenticator was asked. It is not to be closed.

        Args:
            authenticator: The authenticator to ask first.
        """
        other = copy.copy(self)
        other._authenticators = (authenticator, *(self._authenticators or (everyone,)))
        other._open = AsyncExitStack()
        return other

    @property
    def is_needed(self) -> bool:
        """True if calls have to be looked at: callers are authenticated, or their calls are limited."""
        return bool(self._authenticators) or self._calls is not None

    @property
    def authenticates(self) -> bool:
        """True if there are authenticators."""
        return bool(self._authenticators)

    async def open(self) -> None:
        """Open the authenticators that hold files or connections. Raise ConfigurationError if one cannot be used."""
        async with AsyncExitStack() as undo:
            for authenticator in self._authenticators:
                if isinstance(authenticator, Opened):
                    undo.push_async_callback(authenticator.close)
                    await authenticator.open()
            self._open = undo.pop_all()

    async def close(self) -> None:
        """Close what `open` has opened."""
        self._lines.close()
        await self._open.aclose()

    async def identify(self, credentials: CallCredentials, *, may_ask: bool = False) -> Principal:
        """Return the caller of one call.

        Args:
            credentials: The metadata, the certificate and the address of the call.
            may_ask: True if clients first ask without credentials whether some are needed. The log has no line then for
                a call without credentials.

        Raises:
            UnauthenticatedError: The call shows no valid credentials.
            ResourceExhaustedError: The address of the caller has shown too many invalid credentials.
            UnavailableError: The credentials cannot be checked now.
        """
        if not self._authenticators:
            return NOBODY
        try:
            for authenticator in self._authenticators:
                if (principal := await authenticator(credentials)) is not None:
                    if not isinstance(principal, Principal):
                        raise TypeError(f"an authenticator returned a value of the type {type(principal).__name__}")
                    if principal.expires_at is not None and principal.expires_at <= time.time():
                        raise Refused("expired credentials", EXPIRED)
                    return principal
        except Refused as refused:
            reason, problem = refused.reason, refused.problem
        else:
            shown = AUTHORIZATION in credentials.metadata
            reason, problem = ("no authenticator knows the credentials", INVALID) if shown else ("no credentials", "")
        raise self.refusal(credentials, reason, problem, is_logged=bool(problem) or not may_ask)

    def count(self, principal: Principal, credentials: CallCredentials) -> None:
        """Count a call of a caller. Raise ResourceExhaustedError if the caller calls too often."""
        if self._calls is not None:
            whose = address_of(credentials.peer) if principal.is_anonymous else principal.owner
            if wait_s := self._calls.take(whose):
                said = "this caller makes more calls than --calls-per-second allows"
                raise ResourceExhaustedError(said, retry_after_s=wait_s)

    def note_failure(self) -> None:
        """Write the current exception of an authenticator to the log, unless one was written in the last second."""
        self._lines.error("failure", "an authenticator failed", exc_info=True)

    def note_timeout(self, timeout_s: float) -> None:
        """Write to the log that authenticators did not answer a call in time, unless such a line was just written."""
        self._lines.error("timeout", "an authenticator did not answer in time timeout_s=%g", timeout_s)

    def refusal(
        self,
        credentials: CallCredentials,
        reason: str,
        problem: str,
        *,
        is_counted: bool = True,
        is_logged: bool = True,
    ) -> A2AError:
        """Return the error for a call with invalid credentials, and write the reason to the log.

        Args:
            credentials: The metadata, the certificate and the address of the call.
            reason: The cause of the refusal, for the log.
            problem: "invalid_token" or "expired", for the caller; empty if the call shows no credentials.
            is_counted: False for credentials that were valid when the call began: they are no guess.
            is_logged: False to write nothing to the log.
        """
        self.refused[problem or MISSING] += 1
        address = address_of(credentials.peer)
        said, method, peer = one_line(reason), credentials.method, credentials.peer
        if is_logged:
            self._lines.warning(f"{address} {said}", "auth refused method=%s reason=%s peer=%s", method, said, peer)
        if is_counted and self._failures is not None and (wait_s := self._failures.take(address)):
            return ResourceExhaustedError(
                "too many calls with invalid credentials came from this address", retry_after_s=wait_s
            )
        facts = {"schemes": ",".join(self._challenges), "problem": problem}
        return UnauthenticatedError(metadata={name: fact for name, fact in facts.items() if fact})

    def challenges(self, error: UnauthenticatedError) -> tuple[str, ...]:
        """Return the values of `www-authenticate` for a refused call, one for each scheme (RFC 6750, section 3)."""
        problem = error.metadata.get("problem")
        if not problem:
            return self._challenges
        said = f'error="{INVALID}"' if problem == INVALID else f'error="{INVALID}", error_description="{problem}"'
        return tuple(f"{challenge} {said}" for challenge in self._challenges)


def address_of(peer: str) -> str:
    """Return the address of a peer that gRPC names, without its port. All addresses of an IPv6 /64 are one."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    host = rest.replace("%5B", "[").replace("%5D", "]").rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
