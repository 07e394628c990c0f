"""`a2a-grpc top`, a live view of a server or a sentinel, from its metrics."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from a2a_grpc.bounded import TooLarge, read_within
from a2a_grpc.cli.exits import exit_code_of, say_error
from a2a_grpc.cli.options import OutputFormat
from a2a_grpc.cli.readings import Reading, shown
from a2a_grpc.cli.screen import Screen
from a2a_grpc.client.endpoint import is_http
from a2a_grpc.client.errors import UnreachableError
from a2a_grpc.client.trust import trusting
from a2a_grpc.config import ConfigurationError
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.masking import mask_url

if TYPE_CHECKING:
    import aiohttp

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 5.0
MAX_BYTES = 2 << 20
"""The largest answer that is read. The metrics of a server have some 100 kB."""
MAX_REASON = 300
"""The largest length of an error of another program."""
EPILOG = "Exit codes: 0 ended by Ctrl-C or --once, 2 usage, 3 unreachable."


def top(
    url: Annotated[
        str, typer.Argument(metavar="[URL]", help="URL of the HTTP port of a server or a sentinel.")
    ] = DEFAULT_URL,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two readings.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print what one interval shows, and end.")] = False,
    ca_cert: Annotated[
        str | None,
        typer.Option("--ca-cert", metavar="FILE", help="Root certificates (PEM) to trust.", show_default=False),
    ] = None,
    output: Annotated[
        OutputFormat, typer.Option("-o", "--output", help="Format of the output. 'json' prints one object a reading.")
    ] = OutputFormat.TEXT,
) -> None:
    """Show the calls, streams, runs, queues, rates, refusals and deliveries of a server, until Ctrl-C.

    The numbers come from /metrics. The server needs --metrics and the extra `prometheus`, and so does this command.
    """
    try:
        asyncio.run(_watch(url, interval, once, ca_cert, output))
    except KeyboardInterrupt:
        return  # the only end of a live view
    except (A2AError, ConfigurationError) as error:
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None


async def _watch(url: str, interval_s: float, once: bool, ca_cert: str | None, output: OutputFormat) -> None:
    import aiohttp

    if not is_http(url):
        raise ConfigurationError(f"the URL of the server is '{mask_url(url)}'; it must be http://… or https://…")
    page = url if url.rstrip("/").endswith("/metrics") else f"{url.rstrip('/')}/metrics"
    tls = trusting(ca_cert)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(
        timeout=timeout,
        connector=aiohttp.TCPConnector(ssl=tls),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,  # a small answer may inflate to more than the memory holds
    ) as session:
        view = _View(mask_url(url), output)
        before = await _read(session, page)
        with view:
            while True:
                await asyncio.sleep(interval_s)
                try:
                    after = await _read(session, page)
                except UnreachableError as error:
                    if once:
                        raise
                    view.fail(str(error))
                    continue
                view.show(shown(before, after))
                if once:
                    return
                before = after


async def _read(session: "aiohttp.ClientSession", page: str) -> Reading:
    """Read the metrics. Raise UnreachableError, which says why there are none."""
    import aiohttp

    where = mask_url(page)
    try:
        async with session.get(page, allow_redirects=False) as response:
            if response.status == 404:
                raise UnreachableError(f"{where} is not there; start the server with --metrics")
            if response.status != 200:
                raise UnreachableError(f"{where} answers {response.status}")
            text = await read_within(response.content, MAX_BYTES)
        return Reading(text.decode(), time.monotonic())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = one_line(mask_url(str(error)), MAX_REASON) or f"no answer within {TIMEOUT_S:g} s"
        raise UnreachableError(f"{where} cannot be read: {reason}") from None
    except TooLarge:
        raise UnreachableError(f"{where} has more than {MAX_BYTES} bytes") from None
    except ValueError as error:
        raise UnreachableError(f"{where} has no metrics of Prometheus: {error}") from None


class _View:
    """Prints readings: as JSON, as lines for a pipe, or on a terminal in place of the former ones."""

    def __init__(self, url: str, output: OutputFormat) -> None:
        self._url = url
        self._is_json = output is OutputFormat.JSON
        self._screen = Screen.of_stdout()
        self._live: Any = None

    def __enter__(self) -> "_View":
        if not self._is_json and self._screen.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
            self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def show(self, found: dict[str, Any]) -> None:
        """Print one reading."""
        if self._is_json:
            return self._print(json.dumps(_finite(found), allow_nan=False))
        lines = [f"{self._url}  {time.strftime('%H:%M:%S')}", *_lines(found)]
        return self._put(lines)

    def fail(self, reason: str) -> None:
        """Say that a reading failed."""
        if self._is_json:
            return self._print(json.dumps({"error": reason}))
        return self._put([f"{self._url}  {time.strftime('%H:%M:%S')}", reason])

    def _put(self, lines: list[str]) -> None:
        if self._live is None:
            return self._print("\n".join([*lines, ""]))
        from rich.text import Text

        self._live.update(Text("\n".join(lines)), refresh=True)
        return None

    def _print(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201


TITLES = {
    "per_s": "calls/s", "mean_ms": "mean ms", "refused_per_s": "refused/s", "begun_per_s": "begun/s",
    "ended_per_s": "ended/s", "queue_mean_ms": "in queue ms", "takeovers": "take-overs", "events_per_s": "events/s",
    "commits_per_s": "commits/s", "commit_mean_ms": "commit ms", "writes_per_commit": "writes/commit",
    "lease_age_s": "lease age s", "oldest_s": "oldest s", "attempts_per_s": "attempts/s",
}  # fmt: skip
"""The words for what is shown, if they differ from the names in JSON."""


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each group that the server has numbers of."""
    for group, values in found.items():
        if not isinstance(values, dict):
            continue
        words = []
        for name, value in values.items():
            if isinstance(value, dict):
                words += [f"{key} {_said(number)}" for key, number in value.items()]
            elif value is not None:
                words.append(f"{TITLES.get(name, name)} {_said(value)}")
        if words:
            yield f"{group:9}{'   '.join(words)}"


def _said(number: float) -> str:
    return "?" if math.isnan(number) else f"{number:g}"


def _finite(found: Any) -> Any:
    """Return the numbers with None for NaN, which JSON does not have."""
    if isinstance(found, dict):
        return {name: _finite(value) for name, value in found.items()}
    return None if isinstance(found, float) and math.isnan(found) else found
