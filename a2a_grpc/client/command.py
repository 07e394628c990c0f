"""Bearer tokens that a command prints."""

import asyncio
import json
import os
import shlex
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from a2a_grpc.bounded import TooLarge, read_within
from a2a_grpc.client.credentials import Credentials, sendable
from a2a_grpc.client.errors import CredentialsUnavailableError
from a2a_grpc.client.tokens import RenewedBearer, Token, token_of
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import UnauthenticatedError

MAX_OUTPUT_BYTES = 64 * 1024
"""The largest output of a command."""


def token_command(command: str | Sequence[str], *, timeout_s: float = 30.0) -> Credentials:
    """Return credentials that send the bearer token that a command prints.

    The command runs when the first call needs a token. It runs again 60 seconds before the end of the token, and if the
    agent refuses the token. Calls that need a token at the same time wait for one run. The output is the token, or JSON
    with `access_token` and, if known, `expires_in` (seconds) or `expiration` (a Unix time, or a date and time in ISO
    8601). The end of a JWT is read from the token. The standard error of the command is that of the program.

    Args:
        command: The command with its arguments, as a list, or as a text that is split as a shell splits words. No shell
            runs.
        timeout_s: Seconds for one run.

    Raises:
        ConfigurationError: The command is empty or has an open quote. The calls of the client raise this for a command
            that cannot be started, and for output that is no token.
        UnauthenticatedError: The command ended with another exit code than 0. The calls of the client raise this.
    """
    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
    except ValueError as error:
        raise ConfigurationError(f"the token command cannot be read: {error}") from None
    if not words or not words[0]:
        raise ConfigurationError("the token command is empty")
    return TokenCommand(words, timeout_s)


class TokenCommand(RenewedBearer):
    """The token that a command prints."""

    def __init__(self, words: Sequence[str], timeout_s: float) -> None:
        super().__init__()
        self._words = words
        self._timeout_s = timeout_s

    async def _obtain(self, _: Token | None) -> Token:
        name = self._words[0]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # so that its children can be ended with it
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it has a character that no argument can have"
            raise ConfigurationError(f"the token command '{name}' cannot be started: {why}") from None
        try:
            output, code = await _ended(process, self._timeout_s)
        except TimeoutError:
            raise CredentialsUnavailableError(
                f"the token command '{name}' did not end within {self._timeout_s:g} s"
            ) from None
        except TooLarge:
            raise ConfigurationError(f"the token command '{name}' printed more than {MAX_OUTPUT_BYTES} bytes") from None
        if code:
            raise UnauthenticatedError(f"the token command '{name}' ended with exit code {code}, without a token")
        return _read(output, name)


async def _ended(process: asyncio.subprocess.Process, timeout_s: float) -> tuple[bytes, int]:
    """Wait for a command. Return its output and its exit code. End the command if anything is raised."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            return await read_within(process.stdout, MAX_OUTPUT_BYTES), await process.wait()
    except BaseException:
        await _end(process)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command with its children, and wait for it."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    await process.wait()


def _read(output: bytes, name: str) -> Token:
    """Return the token in the output of a command. No error repeats the output."""
    try:
        text = output.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the token command '{name}' printed characters that no token has") from None
    if not text.startswith("{"):
        return token_of(_checked(text, name))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"the token command '{name}' printed neither a token nor JSON") from None
    if not isinstance(found.get("access_token"), str):
        raise ConfigurationError(f"the token command '{name}' printed JSON without a text 'access_token'")
    value = _checked(found["access_token"], name)
    return token_of(value, expires_in=found.get("expires_in"), expires_at=_moment(found.get("expiration"), name))


def _checked(token: str, name: str) -> str:
    try:
        return sendable(token)
    except ConfigurationError:
        raise ConfigurationError(
            f"the token command '{name}' printed no token, or one with characters that metadata cannot hold"
        ) from None


def _moment(value: Any, name: str) -> float | None:
    """Return a Unix time that is given as such, or in ISO 8601; None if there is none."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    try:
        moment = datetime.fromisoformat(value)
        return moment.timestamp() if moment.tzinfo else moment.replace(tzinfo=UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(
            f"the token command '{name}' printed an 'expiration' that is neither a number nor a date and time"
        ) from None
