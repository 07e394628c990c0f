"""A verb starts with its own modules: it does not wait for those of others, above all not for the server."""

import asyncio
import sys

import pytest

from tests.cli.terminal import running

TELL_MODULES = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from a2a_grpc.cli import main
main()
"""
"""`a2a-grpc`, which tells at its end what it has imported."""

SERVER = {"a2a_grpc.server", "a2a_grpc.engine", "a2a_grpc.store", "sqlalchemy", "alembic", "aiohttp"}


async def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends; it must end well."""
    async with running("-c", TELL_MODULES, *arguments, program=(sys.executable,)) as command:
        done = await command.finished()
    assert done.code == 0, done
    return set(done.err.split())


async def test_a_verb_that_calls_an_agent_does_not_import_the_server_or_other_verbs() -> None:
    explained, called, below = await asyncio.gather(
        imported("get", "--help"), imported("get", "t-1", "--as-grpcurl"), imported("push", "get", "t-1", "c-1", "-h")
    )
    for modules in (explained, called, below):
        assert "a2a_grpc.client" in modules
        assert modules & SERVER == set()
        assert modules & {f"a2a_grpc.cli.{verb}" for verb in ("serve", "send", "doctor")} == set()


@pytest.mark.long
async def test_serve_imports_the_server_and_the_version_is_told_without_either_side() -> None:
    serve, version = await asyncio.gather(imported("serve", "--help"), imported("--version"))
    assert {"a2a_grpc.server", "a2a_grpc.engine", "a2a_grpc.store"} <= serve
    assert version & {*SERVER, "a2a_grpc.client", "grpc"} == set()
