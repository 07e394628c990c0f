"""The command line: `a2a-grpc`, one file per verb."""

from typing import TYPE_CHECKING, Any

from a2a_grpc.cli.app import main

if TYPE_CHECKING:
    from a2a_grpc.cli.serve import serve_command

__all__ = ["main", "serve_command"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `serve_command` when it is used, so that a verb that calls an agent does not load the server."""
        if name != "serve_command":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from a2a_grpc.cli.serve import serve_command

        return serve_command
