"""`a2a-grpc serve`, which serves an agent until Ctrl-C."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from a2a_grpc.agent import Agent, check_agent
from a2a_grpc.cli import ready as ready_made
from a2a_grpc.cli.exits import ExitCode, exit_code_of, say_error
from a2a_grpc.cli.options import OutputFormat, begin_log, given_settings, log_parameters, settings_parameters
from a2a_grpc.cli.output import OutputError
from a2a_grpc.cli.screen import Screen, guard
from a2a_grpc.cli.usage import Command
from a2a_grpc.config import ConfigurationError, check_belonging, load
from a2a_grpc.errors import A2AError
from a2a_grpc.harmless import one_line
from a2a_grpc.rpc import TransportSettings
from a2a_grpc.sentinel.agent_settings import AttachSettings, RegisterSettings
from a2a_grpc.server import ListenError
from a2a_grpc.server.events import describe
from a2a_grpc.server.loaded import SETTINGS
from a2a_grpc.server.program import Served, run_program
from a2a_grpc.server.worker import Reporter
from a2a_grpc.shortage import ending_if_short
from a2a_grpc.store import StoreUnavailable

HELP = "Serve an agent over gRPC, and its card over HTTP, until Ctrl-C."


CHECK = inspect.Parameter(
    "check",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool,
        typer.Option(
            "--check", envvar="", help="Check the settings, change nothing, and end with 0 if all is well, else 1."
        ),
    ],
)
"""The option that checks the settings of a server, and serves nothing."""

ATTACHING = frozenset([*AttachSettings.__dataclass_fields__, *RegisterSettings.__dataclass_fields__])
"""The settings that are the sentinel's, not the server's."""


def command() -> Callable[..., None]:
    """Return the function of `a2a-grpc serve TARGET`."""
    target = inspect.Parameter(
        "target",
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=typer.Argument(
            "",
            metavar="FILE_OR_MODULE[:NAME]",
            help="Python file or module that declares the agent; :NAME if it declares several.",
            show_default=False,
        ),
        annotation=str,
    )

    def serve(target: str, **options: Any) -> None:
        ready = ready_made.take(options)
        guarded(lambda: _serve(lambda: ready_made.find(target, ready), options))

    return _with_parameters(serve, [target, *ready_made.parameters(), *_parameters()])


def serve_command(agent: Agent) -> None:
    """Serve an agent with the options of `a2a-grpc serve`, for a program that is one agent."""
    check_agent(agent, Agent)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    def serve(**options: Any) -> None:
        guarded(lambda: _serve(lambda: Served(agent), options))

    about = f"{agent.name}: {agent.description}\n\nServes over gRPC, its card over HTTP, until Ctrl-C."
    guard()
    app.command(cls=Command, help=about)(_with_parameters(serve, _parameters()))
    with ending_if_short():
        app()


def _parameters() -> list[inspect.Parameter]:
    output = typer.Option(
        OutputFormat.TEXT, "-o", "--output", help="Format of the output. 'json' prints one JSON object per line."
    )
    return [
        inspect.Parameter("output", inspect.Parameter.KEYWORD_ONLY, default=output, annotation=OutputFormat),
        *log_parameters(),
        CHECK,
        *settings_parameters(AttachSettings, RegisterSettings, *SETTINGS),
    ]


def _with_parameters(function: Callable[..., None], parameters: list[inspect.Parameter]) -> Callable[..., None]:
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def _serve(find: Callable[[], Served], options: dict[str, Any]) -> None:
    output = options.pop("output")
    begin_log(options)
    report = reporter(output)
    is_check = options.pop("check")
    settings = given_settings(options)
    attaching, registering = load(AttachSettings, settings), load(RegisterSettings, settings)
    settings = {name: value for name, value in settings.items() if name not in ATTACHING}
    check_belonging(attaching, "attach")
    check_belonging(registering, "register")
    if attaching.attach and registering.register:
        raise ConfigurationError("--attach and --register exclude each other; an attached agent is in the registry")
    if attaching.attach and not attaching.address:
        raise ConfigurationError("--address is missing; an agent attaches to a sentinel at an address")
    if is_check:
        from a2a_grpc.cli.check import check_server  # imports the sentinel

        raise typer.Exit(0 if check_server(find, settings, output) else 1)
    if not attaching.attach:
        _serve_directly(find, settings, registering, report)
        return
    from a2a_grpc.cli.attach import serve_attached  # imports the client

    calls = load(TransportSettings, settings).max_streams_per_connection
    run_program(
        find, settings, report=report, around=lambda program: serve_attached(attaching, program, max_calls=calls)
    )


def _serve_directly(
    find: Callable[[], Served], settings: dict[str, Any], registering: RegisterSettings, report: Reporter
) -> None:
    """Serve an agent that clients call directly, and that perhaps registers."""
    if not registering.register:
        run_program(find, settings, report=report)
        return
    from a2a_grpc.cli.register import serve_registered  # imports the client

    run_program(find, settings, report=report, around=lambda program: serve_registered(registering, program))


def guarded(work: Callable[[], None]) -> None:
    """Run a function. Print errors that the user can correct in one line, and end with an exit code."""
    try:
        work()
    except (ConfigurationError, ListenError, StoreUnavailable) as error:
        say_error(error)
        raise typer.Exit(ExitCode.UNREACHABLE if isinstance(error, StoreUnavailable) else ExitCode.USAGE) from None
    except OutputError as error:  # no caller can reach the server without the addresses in this line
        say_error(error)
        raise typer.Exit(ExitCode.OUTPUT) from None
    except A2AError as error:  # of a sentinel
        say_error(error)
        raise typer.Exit(exit_code_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def reporter(output: OutputFormat) -> Reporter:
    """Return the function that prints the events of a server."""
    return _report_json if output is OutputFormat.JSON else _text_reporter()


def _report_json(event: str, values: Mapping[str, Any]) -> None:
    print(json.dumps({"event": event, **values}), flush=True)  # noqa: T201


def _text_reporter() -> Reporter:
    screen = Screen.of_stdout()
    styles = {"ready": "bold green", "draining": "yellow", "restarted": "yellow", "note": "dim"}

    def report(event: str, values: Mapping[str, Any]) -> None:
        screen.say(one_line(describe(event, values)), style=styles.get(event, ""))

    return report
