"""`a2a-grpc logout`, which removes what `a2a-grpc login` has stored."""

import asyncio
from typing import Annotated

import typer

from a2a_grpc.cli.exits import exit_code_of, say_error
from a2a_grpc.cli.screen import Screen
from a2a_grpc.cli.stored import forget
from a2a_grpc.client.target import origin_of
from a2a_grpc.config import ConfigurationError

EPILOG = "Exit codes: 0 ok, 2 usage, or the file cannot be changed."


def logout(
    target: Annotated[
        str | None, typer.Argument(metavar="[CARD_URL]", help="URL of the agent's card.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all logins.")] = False,
) -> None:
    """Remove the stored login for an agent, or all of them. The authorization server is not called."""
    try:
        _remove(target, everything)
    except ConfigurationError as error:
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None


def _remove(target: str | None, everything: bool) -> None:
    if (target is None) != everything:
        raise ConfigurationError("give the URL of a card, or --all")
    origin = None if target is None else origin_of(target)
    if origin == "":
        raise ConfigurationError("a login is for the URL of a card; give an http(s):// URL")
    removed = asyncio.run(forget(origin))
    screen = Screen.of_stderr()
    for one in removed:
        screen.say(f"logged out of {one}")
    if not removed:
        screen.say("there is no login" + (f" for {origin}" if origin else ""))
