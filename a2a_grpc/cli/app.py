"""The verbs, put together."""

from importlib.metadata import version

import typer

from a2a_grpc.cli import serve


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"a2a-grpc {version('a2a-grpc')}")
        raise typer.Exit


def _app() -> typer.Typer:
    app = typer.Typer(
        name="a2a-grpc",
        help="A2A v1.0 agents over gRPC.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def top(
        show_version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Show the version."
        ),
    ) -> None:
        pass

    app.command("serve", help=serve.HELP)(serve.command())
    return app


def main() -> None:
    """The console script."""
    _app()()
