"""`a2a-grpc sentinel`, which serves the agents that attach to it until Ctrl-C."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from a2a_grpc.auth import AuthSettings
from a2a_grpc.auth.file import OF_SENTINELS, accepted
from a2a_grpc.cli.options import OutputFormat, begin_log, given_settings, log_parameters, settings_parameters
from a2a_grpc.cli.serve import CHECK, guarded, reporter
from a2a_grpc.config import load
from a2a_grpc.listening.descriptors import raise_limit
from a2a_grpc.rpc.memory import return_large_blocks
from a2a_grpc.sentinel import Sentinel, SentinelSettings
from a2a_grpc.sentinel.rules_file import RulesFile
from a2a_grpc.server.events import ready_at, report_listeners
from a2a_grpc.server.garbage import Garbage
from a2a_grpc.server.loaded import client_ca_of
from a2a_grpc.server.loop import run_to_end
from a2a_grpc.server.stopping import signals
from a2a_grpc.server.worker import Reporter
from a2a_grpc.shortage import check_limits

HELP = "Serve agents that attach from anywhere, at one address, until Ctrl-C."


def command() -> Callable[..., None]:
    """Return the function of `a2a-grpc sentinel`."""
    output = typer.Option(
        OutputFormat.TEXT, "-o", "--output", help="Format of the output. 'json' prints one JSON object per line."
    )
    parameters = [
        inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=output, annotation=OutputFormat),
        *log_parameters(),
        CHECK,
        *settings_parameters(SentinelSettings, AuthSettings),
    ]

    def sentinel(**options: Any) -> None:
        guarded(lambda: _serve(options))

    sentinel.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    sentinel.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return sentinel


def _serve(options: dict[str, Any]) -> None:
    output = options.pop("output")
    begin_log(options)
    is_check = options.pop("check")
    given = given_settings(options)
    if is_check:
        from a2a_grpc.cli.check import check_sentinel

        raise typer.Exit(0 if check_sentinel(given, output) else 1)
    callers = load(AuthSettings, given)
    found = accepted(callers, client_ca=client_ca_of(given), more=OF_SENTINELS)
    rules = RulesFile(Path(callers.auth)) if callers.auth else None
    settings = load(SentinelSettings, {**given, "tls_client_ca": found.client_ca})
    sentinel = Sentinel(settings, auth=found.authenticators, rules=rules, callers=callers)
    raise_limit()
    check_limits()
    return_large_blocks()
    run_to_end(_run(sentinel, reporter(output)), asyncio.new_event_loop())


async def _run(sentinel: Sentinel, report: Reporter) -> None:
    with signals() as signaled:
        async with sentinel:
            garbage = Garbage(lambda: sentinel.is_idle)
            garbage.start()
            try:
                report_listeners(sentinel.settings, sentinel.addresses, report)
                report("ready", {**ready_at(sentinel.addresses), "http": sentinel.http_url})
                failing = asyncio.create_task(sentinel.wait_failed(), name="a2a-grpc:failing")
                both: list[asyncio.Future[Any]] = [signaled, failing]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                failing.cancel()
            finally:
                garbage.stop()
            if not signaled.done():
                raise SystemExit(f"Error: {failing.result()}")
            report("draining", {"signal": signaled.result()})
    report("stopped", {})
