"""What a user gives and gets: texts, files, data, in any script; what cannot be sent, in a line."""

import asyncio
import errno
import io
import os
import threading
from pathlib import Path

import pytest

from a2a_grpc.cli.content import message_parts, metadata_of
from a2a_grpc.cli.files import MAX_BYTES
from a2a_grpc.config import ConfigurationError
from a2a_grpc.parts import to_dict
from a2a_grpc.wire import Part, SendMessageRequest
from tests.cli.terminal import Done, at, error_of, objects, plain, run, script
from tests.client.peers import peering
from tests.harness import Served

UNICODE = "Grüße, 日本 🙂 \N{COMBINING ACUTE ACCENT}"


# -- files and data


async def test_parts_are_text_then_files_then_data_and_media_types_are_told_from_names(tmp_path: Path) -> None:
    (tmp_path / "pixel.png").write_bytes(b"\x89PNG\0")
    (tmp_path / "notes").write_bytes(b"no ending")
    (tmp_path / "größe.json").write_text('{"size": [1, null]}')
    async with peering() as peer:
        done = await run(
            "send", f"--agent={peer.address}", "--data", f"@{tmp_path / 'größe.json'}", "look", "here",
            "-f", str(tmp_path / "pixel.png"), "--file", str(tmp_path / "notes"), "-f", str(tmp_path / "größe.json"),
            "-d", "[true, 2.5]",
        )  # fmt: skip
        assert done.code == 0, done.err
        [call] = peer.calls
    request: SendMessageRequest = call.request
    text, pixel, notes, size, first, second = request.message.parts
    assert text == Part(text="look here")
    assert pixel == Part(raw=b"\x89PNG\0", filename="pixel.png", media_type="image/png")
    assert notes == Part(raw=b"no ending", filename="notes", media_type="application/octet-stream")
    assert size == Part(raw=b'{"size": [1, null]}', filename="größe.json", media_type="application/json")
    assert [part.WhichOneof("content") for part in (first, second)] == ["data", "data"]
    assert first.data.struct_value["size"] == [1.0, None]
    assert [item.bool_value or item.number_value for item in second.data.list_value.values] == [True, 2.5]


async def test_files_and_data_are_shown_in_a_line_each(served: Served, tmp_path: Path) -> None:
    (tmp_path / "pixel.png").write_bytes(b"\x89PNG\0")
    made = script(
        {"artifact": {"id": "f", "name": "report", "raw_base64": "aGVsbG8="}},
        {"artifact": {"id": "u", "url": "https://files.example/a.pdf"}},
        {"artifact": {"id": "d", "data": {"größe": [1.5, None, "\x1b["]}}},
    )
    expected = '[report, 5 bytes]\n[file, https://files.example/a.pdf]\n{"größe": [1.5, null, "\\u001b["]}\n'
    echoed, sent, streamed = await asyncio.gather(
        run("send", at(served), "--file", str(tmp_path / "pixel.png")),
        run("send", at(served), "-d", made),
        run("stream", at(served), "-d", made),
    )
    assert (echoed.code, echoed.out) == (0, "[pixel.png, image/png, 5 bytes]\n")
    assert (sent.code, sent.out) == (0, expected)
    assert (streamed.code, streamed.out) == (0, expected)


# -- any script


async def test_any_script_goes_in_and_comes_out_unharmed(served: Served) -> None:
    spoken, piped, as_json, streamed = await asyncio.gather(
        run("send", at(served), UNICODE),
        run("send", at(served), "-", stdin=UNICODE),
        run("send", at(served), "-o", "json", "-m", f"key={UNICODE}", UNICODE),
        run("stream", at(served), "-d", script({"status": UNICODE}, {"chunks": {"count": 2, "text": UNICODE}})),
    )
    assert (spoken.code, spoken.out) == (0, UNICODE + "\n")
    assert (piped.code, piped.out) == (0, UNICODE + "\n")
    [element] = objects(as_json.out)
    assert element["task"]["artifacts"][0]["parts"] == [{"text": UNICODE}]
    assert UNICODE in as_json.out, "not escaped"
    assert streamed.out == UNICODE + UNICODE + "\n"
    assert UNICODE in streamed.err


@pytest.mark.long
async def test_an_output_that_has_no_such_character_does_not_end_the_command(served: Served) -> None:
    """As where Windows writes to a pipe, or in a locale without UTF-8."""
    narrow = {"PYTHONIOENCODING": "ascii"}
    sent, streamed, as_json = await asyncio.gather(
        run("send", at(served), "a é z", env=narrow),
        run("stream", at(served), "-d", script({"status": "é"}, {"chunks": {"text": "a é z"}}), env=narrow),
        run("send", at(served), "-o", "json", "a é z", env=narrow),
    )
    for done in (sent, streamed):
        assert done.code == 0, done.err
        assert done.out.startswith("a ")
        assert done.out.endswith(" z\n")
    [element] = objects(as_json.out)
    assert as_json.code == 0
    assert element["task"]["artifacts"][0]["parts"] == [{"text": "a é z"}], "JSON can say any character in ASCII"


# -- what an agent says does not control the terminal


EVIL = "a\x1b[2J\x1b]0;title\x07\x9b31m\rb"


async def test_an_agents_text_does_not_control_the_terminal_and_goes_into_a_pipe_as_it_is(served: Served) -> None:
    steps = script({"status": EVIL}, {"chunks": {"text": EVIL}}, {"artifact": {"id": "t", "text": EVIL, "last": True}})
    shown, piped = await asyncio.gather(
        run("stream", at(served), "-d", steps, terminal=True), run("stream", at(served), "-d", steps)
    )
    assert shown.code == piped.code == 0
    assert controls(shown) == set(), "nothing of the agent's is among what the terminal was told to do"
    assert "COMPLETED" in plain(shown.out).splitlines()[-1]
    assert piped.out == f"{EVIL}\n{EVIL}\n"


async def test_nothing_else_of_an_agent_controls_the_terminal_either(served: Served, tmp_path: Path) -> None:
    """Names of artifacts and files, addresses, data, the words of an error."""
    evil = tmp_path / EVIL
    evil.write_bytes(b"x")
    steps = script(
        {"artifact": {"id": "n", "name": EVIL, "raw_base64": "aGVsbG8="}},
        {"artifact": {"id": "u", "url": EVIL}},
        {"artifact": {"id": "d", "data": {"a": EVIL}}},
        {"artifact": {"id": "p", "name": EVIL, "data": {"progress": 0.5}}},
    )
    streamed, echoed, refused = await asyncio.gather(
        run("stream", at(served), "-d", steps, terminal=True),
        run("send", at(served), "--file", str(evil), terminal=True),
        run("get", at(served), EVIL, terminal=True),
    )
    assert (streamed.code, echoed.code, refused.code) == (0, 0, 6)
    for done in (streamed, echoed, refused):
        assert controls(done) == set(), done.out


def controls(done: Done) -> set[str]:
    """Those of the agent's attempts on the terminal that got through."""
    attempts = ("\x1b[2J", "\x1b]0;", "\x9b31m", "\rb")
    return {attempt for attempt in attempts if attempt in done.out}


async def test_an_agents_brackets_are_no_markup_and_its_colons_no_emoji(served: Served) -> None:
    text = "[bold]loud[/] [/] [red] :warning:"
    steps = script({"status": text}, {"artifact": {"id": text, "name": text, "data": {"progress": 0.5}}},
                   {"chunks": {"text": text}}, {"fail": text})  # fmt: skip
    piped, shown = await asyncio.gather(
        run("stream", at(served), "-d", steps), run("stream", at(served), "-d", steps, terminal=True)
    )
    assert (piped.code, piped.out) == (1, text + "\n")
    assert piped.err.count(text) == 3
    assert shown.code == 1, shown.out
    assert plain(shown.out).count(text) >= 3


# -- what cannot be sent


async def refusals(*commands: tuple[str, ...], stdin: bytes = b"") -> list[str]:
    """What `send` says to each of these; no call may be made."""
    async with peering() as peer:
        done = await asyncio.gather(
            *(run("send", f"--agent={peer.address}", *given, stdin=stdin) for given in commands)
        )
        assert peer.calls == []
    return [error_of(one, 2) for one in done]


INEXACT = "is not a JSON number that the wire can carry exactly"
BEYOND = f"{INEXACT}; integers beyond 2^53 lose digits, give it as a string"
NUMBERS = {
    '{"order": [{"id": 9007199254740993}]}': f".order[0].id: 9007199254740993 {BEYOND}",
    '{"id": {"n": 12345678901234567890}}': f".id.n: 12345678901234567890 {BEYOND}",
    '{"the pi": 3.14159265358979323846}': f"['the pi']: 3.14159265358979323846 {INEXACT}; "
    "give it as a string, or give 3.141592653589793",
    '{"n": [12345678901234567.0]}': f".n[0]: 12345678901234567.0 {INEXACT}; "
    "give it as a string, or give 1.2345678901234568e+16",
    '{"n": 1e-400}': f".n: 1e-400 {INEXACT}; give it as a string, or give 0.0",
    '{"n": 1e-99999999999999999999}': f".n: 1e-99999999999999999999 {INEXACT}; give it as a string, or give 0.0",
    '{"n": 1e400}': ".n: inf is not a JSON number; give it as a string",
}


@pytest.mark.parametrize("given", NUMBERS)
def test_a_number_that_would_come_back_with_other_digits_is_refused_with_its_path(given: str) -> None:
    with pytest.raises(ConfigurationError) as of_data:
        message_parts([], [], [given])
    assert str(of_data.value) == f"--data is '{given}': data{NUMBERS[given]}"
    with pytest.raises(ConfigurationError) as of_metadata:
        metadata_of([given])
    assert str(of_metadata.value) == f"--metadata is '{given}': metadata{NUMBERS[given]}"


def test_a_number_for_a_key_of_metadata_is_refused_if_it_would_come_back_with_other_digits() -> None:
    with pytest.raises(ConfigurationError) as raised:
        metadata_of(["id=-9007199254740993"])
    assert str(raised.value) == f"--metadata is 'id=-9007199254740993': metadata.id: -9007199254740993 {BEYOND}"
    assert metadata_of(["a=9007199254740992", 'b="9007199254740993"', "c=-0.0", "d=1.10", "e=-0"]) == {
        "a": 2**53, "b": "9007199254740993", "c": 0, "d": 1.1, "e": 0,
    }  # fmt: skip


REPEATED = {
    '{"a":1,"a":2}': (".a", "a"),
    '{"a":1,"a":1}': (".a", "a"),
    '{"x":[0,{"b c":1,"d":2,"b c":null}]}': (".x[1]['b c']", "b c"),
    '{"x":{"y":1},"z":2,"x":{"y":1}}': (".x", "x"),
    '{"a":1,"\\u0061":2}': (".a", "a"),
}


@pytest.mark.parametrize("given", REPEATED)
def test_a_key_that_is_given_twice_is_refused_with_its_path(given: str, tmp_path: Path) -> None:
    place, key = REPEATED[given]
    twice = f": the key '{key}' is given twice; give it once"
    file = tmp_path / "given.json"
    file.write_text(given)
    for text in (given, f"@{file}"):
        with pytest.raises(ConfigurationError) as of_data:
            message_parts([], [], [text])
        assert str(of_data.value) == f"--data is '{text}': data{place}{twice}"
        with pytest.raises(ConfigurationError) as of_metadata:
            metadata_of([text])
        assert str(of_metadata.value) == f"--metadata is '{text}': metadata{place}{twice}"
    with pytest.raises(ConfigurationError) as of_key:
        metadata_of([f"k={given}"])
    assert str(of_key.value) == f"--metadata is 'k={given}': metadata.k{place}{twice}"


def test_a_key_that_two_options_give_is_refused() -> None:
    for entries in (["a=1", "b=2", "a=3"], ['{"a": 1}', "a=3"], ["a=1", '{"b": 1, "a": 1}']):
        with pytest.raises(ConfigurationError) as raised:
            metadata_of(entries)
        assert (
            str(raised.value) == f"--metadata is '{entries[-1]}': metadata.a: the key 'a' is given twice; give it once"
        )
    assert metadata_of(["a=1", '{"b": {"a": 2}}']) == {"a": 1, "b": {"a": 2}}


def test_a_pipe_is_read_to_its_end_and_what_never_ends_or_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    large.touch()
    os.truncate(large, MAX_BYTES + 1)
    writing = threading.Thread(target=pipe.write_bytes, args=[b"x" * 100_000])
    writing.start()
    [part] = message_parts([], [pipe], [])
    writing.join()
    assert (part.filename, part.raw) == ("pipe", b"x" * 100_000)
    with pytest.raises(ConfigurationError, match="cannot read --file '/dev/zero': it is a device"):
        message_parts([], [Path("/dev/zero")], [])
    with pytest.raises(ConfigurationError, match=f"{large}': it is larger than 512 MiB"):
        message_parts([], [large], [])


def test_data_that_cannot_be_sent_is_refused_with_its_path() -> None:
    for given, said in {
        '{"items": [{"name": "\\ud800"}]}': "data.items[0].name: the text contains half of a surrogate pair",
        '{"\\udfff": 1}': "data['\\udfff']: the text contains half of a surrogate pair, which is no character",
        "[" * 40 + "]" * 40: f"data{'[0]' * 32}: the value is nested deeper than 31",
    }.items():
        with pytest.raises(ConfigurationError) as raised:
            message_parts([], [], [given])
        assert f"': {said}" in str(raised.value)


async def test_what_cannot_be_read_or_is_no_json_is_said_in_one_line_that_names_the_option(tmp_path: Path) -> None:
    missing, folder = tmp_path / "missing.png", tmp_path
    (tmp_path / "broken.json").write_text("{")
    assert await refusals(
        (),
        ("--file", str(missing)),
        ("--file", str(folder)),
        ("--data", f"@{missing}"),
        ("--data", "NaN"),
        ("--data", '{"a": Infinity}'),
        ("--data", "1e400"),
        ("-H", "no colon", "go"),
        ("-H", "bad name: x", "go"),
    ) == [
        "there is nothing to send; give a text, --file or --data",
        f"cannot read --file '{missing}': No such file or directory",
        f"cannot read --file '{folder}': Is a directory",
        f"cannot read --data '@{missing}': No such file or directory",
        "--data is 'NaN'; it must be JSON, or @FILE: NaN is not JSON",
        "--data is '{\"a\": Infinity}'; it must be JSON, or @FILE: Infinity is not JSON",
        "--data is '1e400': data: inf is not a JSON number; give it as a string",
        "--header must be 'NAME: VALUE', the name of a-z, 0-9, '-', '_' and '.'",
        "--header must be 'NAME: VALUE', the name of a-z, 0-9, '-', '_' and '.'",
    ]
    broken, at_file, no_equals, no_key, constant, no_file = await refusals(
        ("--data", "{'a': 1}"),
        ("--data", f"@{tmp_path / 'broken.json'}"),
        ("-m", "key", "go"),
        ("-m", "=value", "go"),
        ("-m", '{"a": NaN}', "go"),
        ("-m", f"@{missing}", "go"),
    )
    assert broken.startswith("--data is '{'a': 1}'; it must be JSON, or @FILE: ")
    assert at_file.startswith("--data ")
    assert "broken.json" in at_file
    assert no_equals == "--metadata is 'key'; it must be KEY=VALUE or a JSON object"
    assert no_key == "--metadata is '=value'; it must be KEY=VALUE or a JSON object"
    assert constant.startswith("--metadata is '{\"a\": NaN}'; ")
    assert no_file == f"cannot read --metadata '@{missing}': No such file or directory"


async def test_a_value_of_metadata_that_no_json_can_be_is_a_text() -> None:
    """JSON where it can be: a number too large, half a surrogate pair and forty lists in one another cannot."""
    deep = "[" * 40 + "]" * 40
    async with peering() as peer:
        done = await run(
            "send",
            f"--agent={peer.address}",
            "go",
            "-m",
            "a=NaN",
            "-m",
            "b=1e400",
            "-m",
            'c="\\ud800"',
            "-m",
            f"d={deep}",
        )
        assert done.code == 0, done.err
        [call] = peer.calls
    assert to_dict(call.request.metadata) == {"a": "NaN", "b": "1e400", "c": '"\\ud800"', "d": deep}


async def test_bytes_that_are_no_text_are_said_in_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'{"a": "\xe9"}')
    [piped] = await refusals(("-",), stdin=b"\xff\xfe\0")
    typed, data, metadata = await refusals(("caf\udce9",), ("--data", f"@{latin}"), ("go", "-m", f"@{latin}"))
    assert "UTF-8" in piped
    assert "standard input" in piped
    assert "UTF-8" in typed
    assert data.startswith(f"cannot read --data '@{latin}': ")
    assert metadata.startswith(f"cannot read --metadata '@{latin}': ")


async def test_a_header_that_grpc_does_not_carry_is_said_in_one_line() -> None:
    accent, line_end, binary, key, empty, reserved = await refusals(
        ("go", "-H", "x: é"),
        ("go", "-H", "x: a\nb"),
        ("go", "-H", "x-bin: abc"),
        ("go", "--idempotency-key", "é"),
        ("go", "--idempotency-key", ""),
        ("go", "-H", "grpc-timeout: 1n"),
    )
    assert accent.startswith("--header 'x' must have a value in printable ASCII")
    assert line_end.startswith("--header 'x' must have")
    assert binary.startswith("--header 'x-bin' must have")
    assert key.startswith("--idempotency-key is 'é'; ")
    assert empty.startswith("--idempotency-key is ''; ")
    assert reserved == "--header 'grpc-timeout' cannot be sent; names that begin with 'grpc-' are for gRPC itself"


def test_content_standard_input_that_is_closed_or_cannot_be_read_is_said_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ConfigurationError, match="standard input is closed; give the text as an argument"):
        message_parts(["-"], [], [])

    class Directory(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readall(self) -> bytes:
            raise IsADirectoryError(errno.EISDIR, "Is a directory")

        def readinto(self, buffer: object) -> int:
            raise IsADirectoryError(errno.EISDIR, "Is a directory")

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Directory())))
    with pytest.raises(ConfigurationError, match="standard input cannot be read: Is a directory"):
        message_parts(["-"], [], [])
