"""What goes to standard output: the answer and nothing else, whatever that output is, or an end that says why not."""

import re
from pathlib import Path
from typing import Any

import pytest

from a2a_grpc.cli.described import age
from a2a_grpc.wire import Task
from tests.cli.hostile import run_many
from tests.cli.terminal import A2A_GRPC, at, plain, run, run_all, running, script
from tests.harness import Served, scripted

OUTPUT = 8

UNCONNECTED = ("--help", "--version", "completion bash", "send --help", "get t-1 --as-grpcurl")
"""Commands that call nobody."""

STABLE = ("get", "wait", "subscribe")


async def a_task(served: Served, *steps: Any) -> Task:
    task: Task = (await served.send(scripted(*steps or ({"artifact": {"text": "größer"}},)))).task
    return task


def every_verb(served: Served, task: Task, folder: Path) -> list[list[str]]:
    """A command of each verb that prints something and ends by itself."""
    calling = [f"{verb} {task.id}" for verb in STABLE]
    calling += ["send größer", "send größer -o json", "stream größer", "stream -o json hi", "list", "list -o json"]
    calling += ["health", "ping -c 1", "doctor", "doctor -o json"]
    database = f"sqlite:///{folder}/tasks.db"
    return [
        *([*line.split(), at(served)] for line in calling),
        *(line.split() for line in UNCONNECTED),
        ["db", "upgrade", "--store", database],
        ["db", "current", "--store", database],
    ]


# -- an output that cannot be written


@pytest.mark.few
@pytest.mark.parametrize(
    ("target", "says"), [("/dev/full", "No space left on device"), ("-", "Bad file descriptor")], ids=["full", "closed"]
)
async def test_every_verb_ends_with_one_line_and_its_code_if_the_answer_cannot_be_written(
    served: Served, tmp_path: Path, target: str, says: str
) -> None:
    commands = every_verb(served, await a_task(served), tmp_path)
    ended = await run_many([[f">{target}", *command] for command in commands], terminal=False)
    assert {" ".join(done.arguments): done.code for done in ended if done.code != str(OUTPUT)} == {}
    for done in ended:
        errors = [line for line in done.out.splitlines() if line.startswith("Error")]
        assert errors == [f"Error: standard output cannot be written: {says}"], done
        assert "Traceback" not in done.out, done


@pytest.mark.long
async def test_every_verb_ends_quietly_if_the_reader_has_enough(served: Served, tmp_path: Path) -> None:
    commands = every_verb(served, await a_task(served), tmp_path)
    ended = await run_many([[">|", *command] for command in commands], terminal=False)
    assert {" ".join(done.arguments): done.code for done in ended if done.code != "0"} == {}
    assert [done for done in ended if "Error" in done.out or "Traceback" in done.out] == []


async def test_a_server_whose_addresses_cannot_be_printed_ends_with_one_line(tmp_path: Path) -> None:
    options = ("--listen=127.0.0.1:0", "--http-listen=off", "--store=memory:")
    program = ("sh", "-c", 'exec "$0" "$@" >/dev/full', *A2A_GRPC)
    async with running("serve", "servers/scripted.py", *options, program=program) as serving:
        done = await serving.finished()
    assert (done.code, done.err) == (OUTPUT, "Error: standard output cannot be written: No space left on device\n")


async def test_no_verb_minds_a_standard_error_that_is_full(served: Served) -> None:
    task = await a_task(served, {"fail": "out of ink"})
    program = ("sh", "-c", 'exec "$0" "$@" 2>/dev/full', *A2A_GRPC)
    async with running("wait", at(served), task.id, program=program) as waiting:
        done = await waiting.finished()
    assert (done.code, done.out) == (1, "")


@pytest.mark.long
async def test_a_character_that_the_encoding_lacks_is_written_by_its_number_and_that_is_said_once(
    served: Served, tmp_path: Path
) -> None:
    task = await a_task(served)
    ended = await run_many(every_verb(served, task, tmp_path), terminal=False, env={"PYTHONIOENCODING": "ascii"})
    assert {" ".join(done.arguments): done.code for done in ended if done.code != "0"} == {}
    assert [done for done in ended if "Traceback" in done.out] == []
    for told in (done.out for done in ended if done.arguments[0] in STABLE and task.id in done.arguments):
        assert "gr\\xf6\\xdfer" in told
        assert told.count("Note: standard output is ascii, which lacks characters of the answer") == 1


async def test_data_is_json_in_every_encoding(served: Served) -> None:
    done = await run(
        "send", at(served), "-d", script({"artifact": {"data": {"größe": 1}}}), env={"PYTHONIOENCODING": "ascii"}
    )
    assert (done.code, done.out) == (0, '{"gr\\u00f6\\u00dfe": 1}\n')


async def test_a_text_reaches_the_agent_whatever_the_locale(served: Served) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    done = await run("send", at(served), "größer", env=locale)
    assert (done.code, done.out) == (0, "größer\n"), done.err


# -- colours and control characters


@pytest.mark.long
async def test_no_variable_brings_colours_into_a_pipe(served: Served, tmp_path: Path) -> None:
    forced = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1", "PY_COLORS": "1", "GITHUB_ACTIONS": "1"}
    commands = every_verb(served, await a_task(served), tmp_path)
    ended = await run_many(commands, terminal=False, env=forced)
    assert [done.arguments for done in ended if "\x1b" in done.out] == []
    assert {done.code for done in ended} == {"0"}


async def test_the_end_of_a_line_from_windows_is_no_control_character(served: Served) -> None:
    steps = script(
        {"status": "first\r\nsecond"}, {"artifact": {"text": "one\r\ntwo\r\n"}}, {"chunks": {"count": 2, "text": "a\r"}}
    )
    shown = await run("stream", at(served), "-d", steps, terminal=True)
    halves = script(
        {"artifact": {"id": "x", "text": "a\r"}}, {"artifact": {"id": "x", "text": "\nb\r\n", "append": True}}
    )
    split = await run("stream", at(served), "-d", halves, terminal=True)
    assert "\ufffd" not in split.out
    assert "a\nb\n" in plain(split.out)
    assert "one\ntwo\n" in plain(shown.out)
    assert "first\n  | second" in plain(shown.out)
    assert plain(shown.out).count("\ufffd") == 1, "a CR in the middle of a line is one"


# -- progress, questions, files


@pytest.mark.parametrize("verb", ["send", "stream", "wait", "get", "subscribe", "stream --task"])
async def test_progress_is_no_part_of_the_answer_in_any_verb(served: Served, verb: str) -> None:
    steps: list[Any] = [
        {"artifact": {"id": "p", "name": "reading", "data": {"progress": 0.5}}},
        {"artifact": {"id": "a", "text": "the answer"}},
        {"artifact": {"id": "p", "name": "reading", "data": {"progress": 1}}},
    ]
    if verb in ("send", "stream"):
        done = await run(verb, at(served), "-d", script(*steps))
    elif verb == "stream --task":
        task = await a_task(served, *steps, {"input": "More?"})
        done = await run("stream", at(served), "--task", task.id, "-d", script({"complete": "no"}))
    else:
        task = await a_task(served, *steps)
        done = await run(verb, at(served), task.id)
    assert (done.code, done.out) == (0, "the answer\n")
    assert done.err.count("reading 100%\n") == 1


async def test_a_task_that_waits_for_its_user_ends_with_a_code_of_its_own_in_every_verb_that_waits(
    served: Served,
) -> None:
    asks, signs = await a_task(served, {"input": "Which?"}), await a_task(served, {"auth": "Sign in."})
    ended = await run_all(
        ("send", at(served), "-d", script({"input": "Which?"})),
        ("stream", at(served), "-d", script({"auth": "Sign in."}), "-o", "json"),
        ("wait", at(served), asks.id),
        ("wait", at(served), signs.id, "--poll=0.1"),
        ("get", at(served), asks.id),
    )
    assert [done.code for done in ended] == [7, 7, 7, 7, 0], "get shows what is there, and waits for nothing"


async def test_the_names_of_files_are_shown_wherever_a_message_has_them(served: Served, tmp_path: Path) -> None:
    (tmp_path / "plan.txt").write_text("hello")
    sent = await run("send", at(served), "look", "--file", str(tmp_path / "plan.txt"))
    assert (sent.code, sent.out) == (0, "look\n[plan.txt, text/plain, 5 bytes]\n")
    [task_id] = re.findall(r"COMPLETED (\S+)", sent.err)
    got = await run("get", at(served), task_id)
    assert "user: look\n  | [plan.txt, text/plain, 5 bytes]\n" in got.err


# -- ages


@pytest.mark.parametrize(
    ("passed_s", "shown"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86_399, "23h"), (86_400 * 400, "400d"),
     (-30, "0s"), (-3600, "-")],
)  # fmt: skip
def test_an_age_is_told_in_the_largest_unit_that_fits(passed_s: int, shown: str) -> None:
    task = Task()
    task.status.timestamp.seconds = 1_800_000_000
    assert age(task.status.timestamp, 1_800_000_000 + passed_s) == shown
    assert age(Task().status.timestamp, 1_800_000_000) == "-"
