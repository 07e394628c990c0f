"""`a2a-grpc keys new|list|revoke`: what they print, and what they do to the file."""

import json
import os
import re
import stat
from pathlib import Path

import pytest

from a2a_grpc.auth import keyfile
from tests.cli.terminal import Done, error_of, objects, run, run_all

USAGE = 2


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "keys.toml")


async def test_new_prints_the_key_alone_and_stores_its_digest_for_the_owner_only(file: str) -> None:
    done = await run("keys", "new", "alice", "--tenant=acme", "--scope=read", "--scope=write", "--file", file)
    secret = done.out.strip()
    assert (done.code, done.out) == (0, f"{secret}\n")
    assert keyfile.is_key(secret)
    [key] = keyfile.read(Path(file))
    assert done.err == f"{file} has the key {key.id} of 'alice'; the key is not shown again\n"
    assert (key.name, key.digest) == ("alice", keyfile.digest_of(secret))
    assert (key.tenants, key.scopes, key.not_after) == (frozenset(["acme"]), frozenset(["read", "write"]), None)
    assert secret not in Path(file).read_text()
    assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600


async def test_the_variables_of_callers_do_not_limit_a_new_key(file: str) -> None:
    variables = {"A2A_GRPC_TENANT": "acme", "A2A_GRPC_SCOPE": "write"}
    assert (await run("keys", "new", "alice", "--file", file, env=variables)).code == 0
    [key] = keyfile.read(Path(file))
    assert (key.tenants, key.scopes) == (None, frozenset())


async def test_a_key_may_have_an_end(file: str) -> None:
    done = await run("keys", "new", "alice", "--expires-days=30", "--file", file)
    [key] = keyfile.read(Path(file))
    assert key.created is not None
    assert key.not_after == key.created + 30 * 86_400
    assert re.search(r" of 'alice', ends \d{4}-\d\d-\d\d \d\d:\d\d; ", done.err)


async def test_list_shows_names_ids_and_ends_but_no_keys(file: str) -> None:
    await run_all(
        ("keys", "new", "alice", "--scope=read", "--file", file),
        ("keys", "new", "bob", "--tenant=acme", "--expires-days=1", "--file", file),
    )
    alice, bob = sorted(keyfile.read(Path(file)), key=lambda key: key.name)
    listed, as_json, empty = await run_all(
        ("keys", "list", "--file", file), ("keys", "list", "-o", "json", "--file", file), ("keys", "list")
    )
    assert listed.code == 0
    assert sorted(line.split()[:2] for line in listed.out.splitlines()) == [["alice", alice.id], ["bob", bob.id]]
    assert listed.err.splitlines()[0].split() == [
        "NAME",
        "ID",
        "CREATED",
        "(UTC)",
        "ENDS",
        "(UTC)",
        "TENANTS",
        "SCOPES",
    ]
    assert listed.err.splitlines()[-1] == "2 keys"
    assert {
        key["name"]: (key["id"], key["tenants"], key["scopes"], key["expired"]) for key in objects(as_json.out)
    } == {
        "alice": (alice.id, None, ["read"], False),
        "bob": (bob.id, ["acme"], [], False),
    }
    assert error_of(empty, USAGE) == "keys.toml: cannot be read: No such file or directory"


async def test_revoke_removes_one_key_by_its_id_or_all_of_a_name(file: str) -> None:
    for _ in range(3):
        await run("keys", "new", "alice", "--file", file)
    await run("keys", "new", "bob", "--file", file)
    first, *others = [key.id for key in keyfile.read(Path(file)) if key.name == "alice"]
    assert await run("keys", "revoke", "alice", "--id", first[:6], "--file", file) == Done(
        0, "", f"revoked the key {first} of 'alice'\n"
    )
    assert [key.id for key in keyfile.read(Path(file)) if key.name == "alice"] == others
    done = await run("keys", "revoke", "alice", "-o", "json", "--file", file)
    assert {key["id"] for key in objects(done.out)} == set(others)
    assert [key.name for key in keyfile.read(Path(file))] == ["bob"]


async def test_what_cannot_be_done_is_said_in_one_line_that_repeats_no_key(file: str) -> None:
    secret = (await run("keys", "new", "alice", "--file", file)).out.strip()
    before = Path(file).read_text()
    [key] = keyfile.read(Path(file))
    wrong = {
        ("revoke", "alise"): f"{file}: no key has the name 'alise'; did you mean 'alice'?",
        ("revoke", "alice", "--id=zz"): f"{file}: 'alice' has no key with the id 'zz'; it has {key.id}",
        (
            "revoke",
            "alice",
            "--id",
            "",
        ): "--id is empty; give the first digits of a key's id, or leave --id out for all keys",
        ("revoke", secret): "this is a key itself; give the name of the caller, and --id with the id of the key",
        ("new", secret): "NAME is a key itself; give the name of the caller",
        ("new", " a"): "NAME must be a text of printable characters, without spaces around it",
        ("new", "a", "--scope=b c"): "--scope is 'b c', which is not one scope: a scope has no spaces, quotes or "
        "backslashes; give each by itself",
    }
    for arguments, said in wrong.items():
        done = await run("keys", *arguments, "--file", file)
        assert error_of(done, USAGE) == said
        assert secret not in done.err + done.out
    assert Path(file).read_text() == before
    Path(file).write_text("[[keys]]\n")
    assert error_of(await run("keys", "new", "a", "--file", file), USAGE) == (
        f"{file}: the table 'keys' is unknown; did you mean 'key'?"
    )
    Path(file).unlink()
    os.mkfifo(file)
    said = f"{file}: cannot be read: it is not a regular file"
    assert error_of(await run("keys", "new", "a", "--file", file), USAGE) == said
    assert Path(file).is_fifo()


async def test_the_file_comes_from_the_variable_of_the_server(file: str) -> None:
    done = await run("keys", "new", "alice", "-o", "json", env={"A2A_GRPC_API_KEYS": file})
    told = json.loads(done.out)
    assert (told["name"], told["file"], done.err) == ("alice", file, "")
    assert keyfile.digest_of(told["key"]).startswith(told["id"])
