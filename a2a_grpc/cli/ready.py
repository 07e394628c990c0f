"""Agents that `a2a-grpc serve` makes itself: of a program, of another agent, or one that repeats its message."""

import asyncio
import enum
import inspect
import shlex
import shutil
from typing import Annotated, Any

import typer

from a2a_grpc.agent import Agent, Turn
from a2a_grpc.cli.load import load_agent
from a2a_grpc.config import ConfigurationError
from a2a_grpc.server.program import Served


class Chunk(enum.StrEnum):
    """What a program's output is cut into."""

    LINES = "lines"
    BYTES = "bytes"


PANEL = "An agent without a file"
OPTIONS: tuple[tuple[str, Any, Any, str, str | None], ...] = (
    (
        "exec",
        str | None,
        None,
        "Serve this program: the message is its standard input, its standard output the result.",
        "CMD",
    ),
    ("exec_json", bool, False, "Give the program one line of JSON with the whole message, not its text.", None),
    ("chunk", Chunk, Chunk.LINES, "What of the program's output is sent at a time.", None),
    ("shell", bool, False, "Run the command in a shell, with pipes and variables.", None),
    ("exec_limit", int, 0, "Programs that run at a time; more wait. 0: two for each processor.", "N"),
    ("exec_timeout_s", float, 0.0, "Seconds after which a program is stopped, and its task fails. 0: no limit.", "S"),
    ("name", str, "", "Name of the agent on its card; by default the name of the program.", "TEXT"),
    ("proxy", str, "", "Serve the agent of this card, of any binding: JSON-RPC, REST or gRPC.", "CARD_URL"),
    ("echo", bool, False, "Serve an agent that answers with the parts of the message.", None),
)


def parameters() -> list[inspect.Parameter]:
    """Return the options of `a2a-grpc serve` for these agents."""
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[
                kind,
                typer.Option(
                    f"--{name.replace('_', '-')}", envvar="", help=text, metavar=metavar, rich_help_panel=PANEL
                ),
            ],
        )
        for name, kind, default, text, metavar in OPTIONS
    ]


def find(target: str, options: dict[str, Any]) -> Served:
    """Return what is served: the agent of a file, of a program, another agent, or the one that repeats its message.

    Raises:
        ConfigurationError: None of them is named, or several are, or an option belongs to another one.
    """
    command = options["exec"]
    kinds = (("a file", target), ("--exec", command), ("--proxy", options["proxy"]), ("--echo", options["echo"]))
    named = [name for name, given in kinds if given or (given is not None and name == "--exec")]
    if len(named) > 1:
        raise ConfigurationError(f"{' and '.join(named)} exclude each other; serve one agent")
    if not named:
        raise ConfigurationError(
            "what to serve is missing; name a file or module, --exec CMD, --proxy CARD_URL, or --echo"
        )
    belonging = [f"--{name.replace('_', '-')}" for name, _, default, _, _ in OPTIONS[1:-2] if options[name] != default]
    if belonging and command is None:
        raise ConfigurationError(f"{belonging[0]} is for --exec; without it, it has no effect")
    if target:
        return load_agent(target)
    if options["echo"]:
        return Served(_echo())
    if options["proxy"]:
        try:
            from a2a_grpc.adapters.proxy import proxied
        except ImportError as error:  # it names the extra
            raise ConfigurationError(str(error)) from error

        return Served(asyncio.run(proxied(options["proxy"])))
    from a2a_grpc.adapters.program import agent_of

    agent = agent_of(
        command,
        name=options["name"],
        as_json=options["exec_json"],
        chunk=options["chunk"].value,
        shell=options["shell"],
        limit=options["exec_limit"],
        timeout_s=options["exec_timeout_s"],
    )
    if not options["shell"] and shutil.which(program := shlex.split(command)[0]) is None:
        raise ConfigurationError(f"--exec is '{command}'; there is no program '{program}' that can be run")
    return Served(agent)


def take(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the options of these agents from all options. Return them."""
    return {name: options.pop(name) for name, *_ in OPTIONS}


def _echo() -> Agent:
    agent = Agent("Echo", "Answers with the parts of the message.", input_modes=["*/*"], output_modes=["*/*"])

    @agent.skill("echo")
    async def echo(turn: Turn) -> None:
        """Answer with the parts of the message."""
        await turn.artifact(list(turn.message.parts), name="echo", last_chunk=True)

    return agent
