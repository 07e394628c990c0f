"""API keys: who a key names, when the file is read again, and what is said of a wrong file."""

import asyncio
import hashlib
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from a2a_grpc.auth import CallCredentials, Described, Opened, Refused, keyedits, keyfile
from a2a_grpc.auth import keys as keys_module
from a2a_grpc.auth.keyfile import Key, digest_of, new_secret
from a2a_grpc.auth.keys import ApiKeys
from a2a_grpc.config import ConfigurationError
from a2a_grpc.regular import MAX_FILE_BYTES
from tests.harness import eventually

ALICE, BOB = "a2a_" + "a1" * 32, "a2a_" + "b2" * 32


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def add(file: Path, secret: str, name: str = "alice", **more: object) -> Key:
    key = Key(name, digest_of(secret), **more)  # type: ignore[arg-type]
    keyedits.add(file, key)
    return key


def call(*values: str, authorization: tuple[str, ...] = (), header: str = "x-api-key") -> CallCredentials:
    metadata: dict[str, tuple[str | bytes, ...]] = {"authorization": authorization, header: values}
    return CallCredentials(
        method="/m", metadata={name: of for name, of in metadata.items() if of}, peer="ipv4:192.0.2.1:1"
    )


async def opened(file: Path, **options: str) -> ApiKeys:
    keys = ApiKeys(file, **options)
    assert isinstance(keys, Opened)
    assert isinstance(keys, Described)
    await keys.open()
    return keys


async def reason(keys: ApiKeys, credentials: CallCredentials) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await keys(credentials)
    return refused.value.reason, refused.value.problem


async def test_a_key_names_its_caller_with_tenants_scopes_and_end(file: Path) -> None:
    ends = float(int(time.time()) + 3600)
    add(file, ALICE, tenants=frozenset(["acme"]), scopes=frozenset(["read", "write"]), not_after=ends)
    add(file, BOB, "bob")
    keys = await opened(file)
    alice, bob = await keys(call(ALICE)), await keys(call(BOB))
    assert alice is not None
    assert bob is not None
    assert (alice.method, alice.issuer, alice.subject) == ("key", "", "alice")
    assert (alice.tenants, alice.scopes, alice.expires_at) == (frozenset(["acme"]), frozenset(["read", "write"]), ends)
    assert (bob.subject, bob.tenants, bob.scopes, bob.expires_at) == ("bob", None, frozenset(), None)


async def test_a_key_is_taken_from_its_header_or_as_a_bearer_token(file: Path) -> None:
    add(file, ALICE)
    own = "an old key of another program"
    add(file, own, "carol")
    keys = await opened(file)
    for credentials, name in (
        (call(ALICE), "alice"),
        (call(ALICE, ALICE), "alice"),
        (call(own), "carol"),
        (call(authorization=(f"Bearer {ALICE}",)), "alice"),
        (call(authorization=(f"bearer  {ALICE}",)), "alice"),
        (call(ALICE, authorization=(f"BEARER {ALICE}",)), "alice"),
        (call(ALICE, authorization=("Bearer eyJhbGciOiJub25lIn0.e30.",)), "alice"),
    ):
        caller = await keys(credentials)
        assert caller is not None
        assert caller.subject == name
    for other in (
        call(),
        call(authorization=("Bearer eyJhbGciOiJub25lIn0.e30.",)),
        call(authorization=(f"Bearer {own}",)),
        call(authorization=(f"Basic {ALICE}",)),
        call(authorization=(ALICE,)),
        call(authorization=("Bearer one", "Bearer two")),
    ):
        assert await keys(other) is None


async def test_what_is_no_valid_key_is_refused_and_the_reason_holds_nothing_of_it(file: Path) -> None:
    add(file, ALICE)
    add(file, BOB, "bob", not_after=time.time() - 1)
    keys = await opened(file)
    assert await reason(keys, call(new_secret())) == ("unknown key", "invalid_token")
    assert await reason(keys, call("")) == ("unknown key", "invalid_token")
    assert await reason(keys, call("\udcff")) == ("unknown key", "invalid_token")
    assert await reason(keys, call(digest_of(ALICE))) == ("unknown key", "invalid_token")
    assert await reason(keys, call(ALICE.upper())) == ("unknown key", "invalid_token")
    assert await reason(keys, call(authorization=("Bearer a2a_",))) == ("unknown key", "invalid_token")
    assert await reason(keys, call(BOB)) == ("expired key", "expired")
    assert await reason(keys, call(ALICE, BOB)) == ("several keys", "invalid_token")
    assert await reason(keys, call(ALICE, authorization=(f"Bearer {BOB}",))) == ("several keys", "invalid_token")
    twice = call(authorization=(f"Bearer {ALICE}", "Bearer other"))
    assert await reason(keys, twice) == ("several authorization entries", "invalid_token")


async def test_another_header_may_carry_the_key(file: Path) -> None:
    add(file, ALICE)
    keys = await opened(file, header="X-Agent-Key")
    caller = await keys(call(ALICE, header="x-agent-key"))
    assert caller is not None
    assert await keys(call(ALICE)) is None
    scheme = keys.schemes()["api_key"]
    assert (scheme.api_key_security_scheme.location, scheme.api_key_security_scheme.name) == ("header", "X-Agent-Key")
    for wrong in ("authorization", "key-bin", "grpc-key", "a2a-version", "a b", "", "schlüssel"):
        with pytest.raises(ConfigurationError, match=f"the header of API keys is '{wrong}'"):
            ApiKeys(file, wrong)


async def test_two_keys_of_one_name_are_one_caller(file: Path) -> None:
    add(file, ALICE)
    add(file, BOB, "alice")
    keys = await opened(file)
    one, two = await keys(call(ALICE)), await keys(call(BOB))
    assert one is not None
    assert two is not None
    assert one.owner == two.owner != ""
    assert one.key == two.key


async def test_a_change_of_the_file_counts_without_a_restart(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "a2a_grpc.auth")
    add(file, ALICE)
    keys = await opened(file)
    assert await keys(call(ALICE))
    add(file, BOB, "bob")
    keyedits.remove(file, "alice")

    async def is_revoked() -> bool:
        try:
            return await keys(call(ALICE)) is None
        except Refused:
            return True

    async def changed() -> None:
        assert await is_revoked()

    await eventually(changed)
    assert await keys(call(BOB))
    assert f"API keys read again file={file} count=1" in caplog.text


async def test_a_call_after_a_long_pause_does_not_see_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "LOOK_EVERY_S", 0.0)  # as if each call came after a pause
    add(file, ALICE)
    keys = await opened(file)
    assert await keys(call(ALICE))
    keyedits.remove(file, "alice")
    answers = await asyncio.gather(*(keys(call(ALICE)) for _ in range(20)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Refused}


async def test_a_second_change_of_equal_size_at_the_same_time_is_seen(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_EVERY_S", 0.0)
    add(file, ALICE)
    keys = await opened(file)
    state = file.stat()
    text = file.read_text().replace(digest_of(ALICE), digest_of(BOB))
    file.write_text(text)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert await keys(call(BOB))


async def test_a_file_that_cannot_be_used_keeps_the_former_keys_and_the_log_says_why(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_EVERY_S", 0.0)
    add(file, ALICE)
    keys = await opened(file)
    for wrong in ("", "[[key]]\nname =", "[[key]]\nname = 'x'\n", None):
        if wrong is None:
            file.unlink()
        else:
            file.write_text(wrong)
        for _ in range(5):
            assert await keys(call(ALICE))
    said = [record.getMessage() for record in caplog.records if "not read again" in record.getMessage()]
    assert len(said) == 4, "each fault once"
    assert said[0].endswith(f"error={file}: the file is empty")
    assert said[-1].endswith(f"error={file}: cannot be read: No such file or directory")
    file.touch(0o600)
    add(file, BOB, "bob")
    assert await keys(call(BOB))
    await keys.close()


WRONG = {
    "": "the file is empty",
    "[[key]\n": "is not TOML: Expected ']]' at the end of an array declaration (at line 1, column ",
    "[key]\nname = 'x'\n": "[key] must be written [[key]], since there may be several keys",
    "key = 3": "[key] must be written [[key]]",
    "key = [3]": "[[key]] 1 must be a table",
    "[[keys]]\nname = 'x'": "the table 'keys' is unknown; did you mean 'key'?",
    "[[key]]\nsha256 = 'x'": "[[key]] 1: the key 'name' is missing",
    "[[key]]\nname = 'x'": "[[key]] 1 ('x'): the key 'sha256' is missing",
    "[[key]]\nname = 3\nsha256 = 'x'": "[[key]] 1: name is 3; it must be a text of printable characters",
    f"[[key]]\nname = '{ALICE}'\nsha256 = 'x'": "[[key]] 1: name is a key itself; give the name of the caller",
    f"[[key]]\nname = 'x'\nsha256 = '{ALICE}'": "[[key]] 1 ('x'): sha256 must have the 64 hexadecimal digits",
    f"[[key]]\nname = 'x'\nsecret = '{ALICE}'": "[[key]] 1 ('x'): the key 'secret' is unknown",
    "[[key]]\nname = 'x'\nscope = ['a']": "[[key]] 1 ('x'): the key 'scope' is unknown; did you mean 'scopes'?",
    "[[key]]\nname = 'x'\nsha256 = '{d}'\nscopes = 'a'": "[[key]] 1 ('x'): scopes is 'a'; it must be a list of texts",
    "[[key]]\nname = 'x'\nsha256 = '{d}'\nscopes = ['a b']": "[[key]] 1 ('x'): scopes has 'a b', which is not",
    "[[key]]\nname = 'x'\nsha256 = '{d}'\ntenants = []": "[[key]] 1 ('x'): tenants is []; it must be a list of texts",
    "[[key]]\nname = 'x'\nsha256 = '{d}'\nnot_after = 2027-01-31": "[[key]] 1 ('x'): not_after is 2027-01-31; it",
    "[[key]]\nname = 'x'\nsha256 = '{d}'\n[[key]]\nname = 'y'\nsha256 = '{d}'": "[[key]] 2 ('y'): the key is in the",
}


@pytest.mark.parametrize("text", WRONG)
async def test_a_wrong_file_is_refused_by_file_table_and_key(file: Path, text: str) -> None:
    file.write_text(text.replace("{d}", digest_of(BOB)))
    with pytest.raises(ConfigurationError) as refused:
        await ApiKeys(file).open()
    assert str(refused.value).startswith(f"{file}: {WRONG[text]}")
    assert ALICE not in str(refused.value)


async def test_a_file_that_is_not_there_is_refused_by_name(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"^{file}: cannot be read: No such file or directory$"):
        await ApiKeys(file).open()
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="it is not UTF-8"):
        await ApiKeys(file).open()


def test_the_file_has_digests_only_and_is_for_its_owner(file: Path) -> None:
    secret = new_secret()
    add(file, secret)
    assert secret not in file.read_text()
    assert hashlib.sha256(secret.encode()).hexdigest() in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    add(file, BOB)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["keys.toml"]


COMMENTED = """\
# Keys of the agents' team.
title = "ours"

[[key]] # the first
name = "alice" # her laptop
sha256 = "{alice}"
scopes = [
  "read", # and
  "write",
]

# Bob came in May.
[[ "key" ]]
name = "bob"
sha256 = "{bob}"
# Bob has left; ask Carol.

[other.table]
text = '''
[[key]]
name = "not a key"
'''
"""


def test_comments_and_tables_of_other_programs_stay_when_keys_come_and_go(file: Path) -> None:
    before = COMMENTED.format(alice=digest_of(ALICE), bob=digest_of(BOB))
    file.write_text(before)
    carol = add(file, "c", "carol", scopes=frozenset(["read"]), tenants=frozenset(["", "ä"]))
    assert file.read_text() == f"{before}\n{carol.to_toml()}"
    assert [key.name for key in keyfile.read(file)] == ["alice", "bob", "carol"]
    keyedits.remove(file, "carol")
    keyedits.remove(file, "bob")
    assert file.read_text() == before.replace(f'[[ "key" ]]\nname = "bob"\nsha256 = "{digest_of(BOB)}"\n', "") + "\n"
    keyedits.remove(file, "alice")
    assert keyfile.read(file) == []
    assert "# Bob came in May." in file.read_text()
    assert 'name = "not a key"' in file.read_text()


def test_a_line_of_a_text_that_looks_like_a_table_is_not_taken_for_one(file: Path) -> None:
    before = f"[[key]]\nname = 'alice'\nsha256 = '{digest_of(ALICE)}'\n\n[x]\ntext = '''\n[[key]]\n'''\n"
    file.write_text(f"{before}[[key]]\nname = 'bob'\nsha256 = '{digest_of(BOB)}'\n")
    keyedits.remove(file, "bob")
    assert file.read_text() == before


def test_a_key_in_a_form_that_cannot_be_changed_is_left_to_be_changed_by_hand(file: Path) -> None:
    before = f"key = [{{ name = 'alice', sha256 = '{digest_of(ALICE)}' }}]\n"
    file.write_text(before)
    with pytest.raises(ConfigurationError, match="key 1 cannot be removed without changing others; remove it by hand"):
        keyedits.remove(file, "alice")
    with pytest.raises(ConfigurationError, match="a key cannot be added at the end of the file; add it by hand"):
        add(file, BOB)
    assert file.read_text() == before


def test_writers_at_the_same_time_lose_no_key(file: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from a2a_grpc.auth import keyedits, keyfile\n"
        "for n in range(5): keyedits.add(Path(sys.argv[1]), keyfile.Key(f'{sys.argv[2]}-{n}', keyfile.digest_of("
        "keyfile.new_secret())))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), str(number)]) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(keyfile.read(file)) == 15


async def test_a_pipe_or_a_large_file_in_place_of_the_file_delays_no_call(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_EVERY_S", 0.0)
    add(file, ALICE)
    keys = await opened(file)
    file.unlink()
    os.mkfifo(file)
    async with asyncio.timeout(30):
        assert await keys(call(ALICE))
    assert "cannot be read: it is not a regular file" in caplog.text
    file.unlink()
    file.touch()
    os.truncate(file, MAX_FILE_BYTES + 1)
    assert await keys(call(ALICE))
    assert f"cannot be read: it has more than {MAX_FILE_BYTES} bytes" in caplog.text
    await keys.close()


async def test_a_file_that_others_can_write_is_named_at_the_start_and_when_it_changes(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_module, "LOOK_EVERY_S", 0.0)
    said = f"other users can write a file of credentials file={file} mode=0620 do='chmod 600 {file}'"
    add(file, ALICE)
    file.chmod(0o620)
    keys = await opened(file)
    assert caplog.text.count(said) == 1
    assert await keys(call(ALICE))
    assert caplog.text.count(said) == 1
    file.chmod(0o600)
    assert await keys(call(ALICE))
    assert caplog.text.count(said) == 1
    file.chmod(0o622)
    assert await keys(call(ALICE))
    assert await keys(call(ALICE))
    assert caplog.text.count("other users can write") == 2
    add(file, BOB, "bob")
    assert await keys(call(BOB))
    assert caplog.text.count("other users can write") == 3
    await keys.close()
