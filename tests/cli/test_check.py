"""`a2a-grpc serve --check` and `a2a-grpc sentinel --check`: each step has a line, and nothing changes."""

import datetime
import json
import socket
import sqlite3
from pathlib import Path

import pytest

from a2a_grpc.auth import keyedits
from a2a_grpc.auth.keyfile import Key, digest_of
from a2a_grpc.cli.looks import writable
from a2a_grpc.config import ConfigurationError
from a2a_grpc.store import open_store
from a2a_grpc.store.sql.migrations import HEAD
from tests.auth.pki import DAY, Authority
from tests.cli.terminal import Done, run

AGENT = """\
from a2a_grpc import Agent, Turn

agent = Agent("Greeter", "Greets.")

@agent.skill()
async def greet(turn: Turn) -> str:
    \"\"\"Greet.\"\"\"
    return "hello"
"""


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, without what Python compiles when it imports the agent."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {str(path): path.read_bytes() for path in found}


def outcomes(done: Done) -> dict[str, tuple[str, str]]:
    return {said["step"]: (said["outcome"], said["text"]) for said in map(json.loads, done.out.splitlines())}


async def owned(url: str, name: str) -> None:
    store = open_store(url)
    await store.open()
    await store.belong_to(name)
    await store.close()


async def test_a_server_that_can_start_passes_every_step_and_nothing_is_made_or_changed(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(AGENT)
    store = f"sqlite:///{tmp_path}/tasks.db"
    serve = ("serve", str(tmp_path / "greeter.py"), "--check", "--store", store, "--listen=127.0.0.1:0")
    before = contents(tmp_path)
    done = await run(*serve, "--http-listen=off")
    assert (done.code, done.err) == (0, ""), done
    assert [line.split()[1] for line in done.out.splitlines()] == [
        *("agent", "card", "store", "ports", "TLS", "auth", "audit", "push", "settings")
    ]
    assert f"{tmp_path}/tasks.db does not exist yet; the server will make it" in done.out
    assert contents(tmp_path) == before

    await owned(store, "Greeter")
    keyedits.add(tmp_path / "keys.toml", Key("alice", digest_of("a2a_" + "a1" * 32)))
    certificate, key = Authority().issue("localhost", dns=("localhost",), ends=90 * DAY).write(tmp_path)
    audit = tmp_path / "audit.log"
    before = contents(tmp_path)
    more = (f"--tls-cert={certificate}", f"--tls-key={key}", f"--api-keys={tmp_path}/keys.toml", f"--audit-log={audit}")
    done = await run(*serve, "--http-listen=127.0.0.1:0", "-o", "json", *more)
    said = outcomes(done)
    assert done.code == 0, done
    assert {outcome for outcome, _ in said.values()} == {"ok"}
    assert said["store"][1] == f"{store} answers; the schema is at {HEAD}, as this version needs it"
    assert said["auth"][1] == "callers may show: API keys"
    assert said["TLS"][1].startswith(f"{certificate} is valid until 2")
    assert {name: text for name, text in contents(tmp_path).items() if "__pycache__" not in name} == before


async def test_every_fault_has_a_line_of_its_own_and_the_exit_code_is_1(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(AGENT.replace('"Greets."', '""'))
    store = f"sqlite:///{tmp_path}/tasks.db"
    await owned(store, "Poet")
    (tmp_path / "keys.toml").write_text("[[keys]]\nname = 3\n")
    certificate, key = (
        Authority().issue("localhost", dns=("localhost",), ends=-datetime.timedelta(hours=1)).write(tmp_path)
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = await run(
            *("serve", str(tmp_path / "greeter.py"), "--check", "-o", "json", "--store", store),
            *(f"--listen=127.0.0.1:{port}", f"--tls-cert={certificate}", f"--tls-key={key}"),
            *(f"--api-keys={tmp_path}/keys.toml", f"--audit-log={tmp_path}/no/audit.log"),
        )
    said = outcomes(done)
    assert done.code == 1
    failed = {step: text for step, (outcome, text) in said.items() if outcome == "failed"}
    assert "description" in failed["card"]
    assert failed["store"] == f"store is '{store}'; it keeps the tasks of the agent 'Poet', and this agent is 'Greeter'"
    assert failed["ports"].startswith(f"cannot listen on 127.0.0.1:{port} for gRPC: address already in use")
    assert failed["TLS"].startswith(f"{certificate} has expired: it was valid until ")
    assert "keys.toml" in failed["auth"]
    assert failed["audit log"] == f"{tmp_path}/no/audit.log: there is no directory {tmp_path}/no"
    assert said["agent"][0] == said["push"][0] == "ok", "the other steps are taken all the same"
    missing = await run("serve", str(tmp_path / "none.py"), "--check", "-o", "json", "--listen=127.0.0.1:0")
    assert missing.code == 1
    assert outcomes(missing)["agent"][0] == "failed"
    assert outcomes(missing)["card"] == ("skipped", "there is no agent")


def test_an_audit_log_whose_name_is_too_long_is_no_place_that_can_be_written(tmp_path: Path) -> None:
    assert writable(f"{tmp_path}/audit.log") == f"{tmp_path}/audit.log can be written"
    with pytest.raises(ConfigurationError, match="File name too long"):
        writable(f"{tmp_path}/{'n' * 300}")


async def test_a_schema_that_is_old_is_named_and_not_upgraded(tmp_path: Path) -> None:
    (tmp_path / "greeter.py").write_text(AGENT)
    store = f"sqlite:///{tmp_path}/tasks.db"
    await owned(store, "Greeter")
    with sqlite3.connect(tmp_path / "tasks.db") as file:
        file.execute("UPDATE a2a_version SET version_num = '0006'")
    file.close()
    serve = (
        "serve",
        str(tmp_path / "greeter.py"),
        "--check",
        "-o",
        "json",
        "--listen=127.0.0.1:0",
        "--http-listen=off",
    )
    done = await run(*serve, "--store", store)
    assert outcomes(done)["store"] == ("ok", f"{store} is at 0006; the server will upgrade it to {HEAD}")
    with sqlite3.connect(tmp_path / "tasks.db") as file:
        assert file.execute("SELECT version_num FROM a2a_version").fetchone() == ("0006",)
    file.close()


@pytest.mark.long
async def test_postgresql_is_asked_and_its_tables_are_not_made(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "greeter.py").write_text(AGENT)
    serve = (
        "serve",
        str(tmp_path / "greeter.py"),
        "--check",
        "-o",
        "json",
        "--listen=127.0.0.1:0",
        "--http-listen=off",
    )
    for _ in range(2):
        done = await run(*serve, "--store", postgres_url, "--no-push")
        outcome, text = outcomes(done)["store"]
        assert (done.code, outcome) == (1, "failed")
        assert "the database has no tables yet" in text
        assert "secret" not in done.out
    assert (await run("db", "upgrade", "--store", postgres_url)).code == 0
    done = await run(*serve, "--store", postgres_url, "--no-push")
    assert done.code == 0, done
    assert "as this version needs it" in outcomes(done)["store"][1]


async def test_a_sentinel_is_checked_in_the_same_way(tmp_path: Path) -> None:
    (tmp_path / "auth.toml").write_text("[[jwt]]\n")
    done = await run("sentinel", "--check", "--listen=127.0.0.1:0", "--http-listen=off")
    assert done.code == 0, done
    assert [line.split()[1] for line in done.out.splitlines()] == ["store", "ports", "TLS", "auth", "audit", "settings"]
    store = f"sqlite:///{tmp_path}/registry.db"
    done = await run(
        *("sentinel", "--check", "-o", "json", "--listen=127.0.0.1:0", "--http-listen=off"),
        *(f"--auth={tmp_path}/auth.toml", f"--store={store}"),
    )
    assert done.code == 1
    said = outcomes(done)
    assert said["auth"][0] == said["settings"][0] == "failed"
    assert list(tmp_path.iterdir()) == [tmp_path / "auth.toml"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--workers=2", "--store=memory:"), "workers"),
        (("--attach=127.0.0.1:1",), "--address is missing"),
    ],
)
async def test_what_a_start_refuses_is_refused_by_the_check(
    options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "greeter.py").write_text(AGENT)
    done = await run(
        "serve", str(tmp_path / "greeter.py"), "--check", "--listen=127.0.0.1:0", "--http-listen=off", *options
    )
    assert done.code != 0
    assert said in done.out + done.err
