"""Serving an agent that is attached to a sentinel."""

import asyncio
import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from a2a_grpc.agent.card import card_json
from a2a_grpc.cli.exits import exit_code_of, say_failure
from a2a_grpc.errors import A2AError, UnauthenticatedError
from a2a_grpc.push.callback_settings import CallbackSettings
from a2a_grpc.sentinel import Attachment, AttachSettings
from a2a_grpc.server.program import Program, run
from a2a_grpc.server.stopping import signals
from a2a_grpc.store.sharing import shared_name

logger = logging.getLogger("a2a_grpc.sentinel")


async def serve_attached(settings: AttachSettings, program: Program, *, max_calls: int) -> None:
    """Attach an agent to a sentinel, serve it until a signal comes, and drain.

    The agent's card names the sentinel, so the server starts once the agent is attached.

    Args:
        settings: The sentinel, and the address of the agent.
        program: The server of the agent, its store, and a function that reports each step.
        max_calls: The number of calls that the server accepts on one connection.

    Raises:
        SystemExit: The sentinel refuses the agent. A line on standard error says so.
        ServerFailedError: The server failed.
    """
    report = program.report
    if not settings.shared_store:
        settings = replace(settings, shared_store=shared_name(program.store))
    with tempfile.TemporaryDirectory(prefix="a2a-grpc-") as folder:  # which no other user can read
        async with Attachment(settings, max_calls=max_calls) as attachment:
            try:
                welcome = await _welcomed(attachment, is_worker=program.is_worker)
            except A2AError as error:
                hint = (
                    "the agent shows the token of --attach-token-file"
                    if isinstance(error, UnauthenticatedError)
                    else ""
                )
                say_failure(f"cannot attach to {settings.attach}: {error.message}", hint)
                sys.exit(exit_code_of(error))
            if welcome is None:
                report("stopped", {})
                return
            public, tenant = welcome
            path = Path(folder) / "s"
            more = {"advertise": public, "tenant": tenant, **callbacks_at(settings, program.callbacks)}
            server = program.make(more, path, attachment.callers)

            def report_both(event: str, values: Mapping[str, Any]) -> None:
                if event == "ready":
                    attachment.serve(path)
                    attachment.describe(card_json(server.card))
                    if server.card.security_requirements and not (
                        attachment.callers.is_vouching or attachment.callers.passes_credentials
                    ):
                        logger.warning("the sentinel passes no credentials on sentinel=%s", settings.attach)
                    report("note", {"text": f"attached to {settings.attach} as {tenant}"})
                if event == "draining":
                    attachment.drain()
                report(event, values)

            await run(server, report=report_both, is_worker=program.is_worker)


def callbacks_at(settings: AttachSettings, given: CallbackSettings) -> dict[str, Any]:
    """Return the settings with which the server calls back agents at the sentinel that it is attached to.

    Args:
        settings: The sentinel, and how it is reached.
        given: The settings of the user, which count if they name a sentinel.
    """
    if given.callback_sentinel:
        return {}
    sentinel = settings.attach.split(",")[0].strip()
    found: dict[str, Any] = {"callback_sentinel": sentinel, "callback_plaintext": settings.attach_plaintext}
    if settings.attach_ca_cert and not given.callback_ca_cert:
        found["callback_ca_cert"] = settings.attach_ca_cert
    if settings.attach_cert and not given.callback_cert:
        found |= {"callback_cert": settings.attach_cert, "callback_key": settings.attach_key}
    if settings.attach_token_file:
        tokens = [given.callback_tokens, f"{sentinel}={settings.attach_token_file}"]
        found["callback_tokens"] = ",".join(filter(None, tokens))
    return found


async def _welcomed(attachment: Attachment, *, is_worker: bool) -> tuple[str, str] | None:
    """Wait until an agent is attached. Return its address and its tenant; None if a signal came first."""
    with signals(is_worker=is_worker) as signaled:
        welcome = asyncio.create_task(attachment.welcome(), name="a2a-grpc:welcome")
        both: list[asyncio.Future[Any]] = [welcome, signaled]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not welcome.done():
            welcome.cancel()
            return None
        return welcome.result()
