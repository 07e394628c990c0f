"""The command line: `a2a-grpc`, one file per verb."""

from a2a_grpc.cli.app import main
from a2a_grpc.cli.serve import serve_command

__all__ = ["main", "serve_command"]
