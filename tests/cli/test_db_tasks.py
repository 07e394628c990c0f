"""`a2a-grpc db stats|export|import|purge`: on real databases, with the tasks that a server leaves there."""

import asyncio
import base64
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.database.urls import DatabaseUrl
from a2a_grpc.lifecycle import COMPLETED, INPUT_REQUIRED, SUBMITTED
from a2a_grpc.store import Binding, Note, Pending, Push, open_store
from a2a_grpc.store.contract.given import KEY, WAITING, append, born, chunk, create, status, talk
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.store.sql.migrations import upgrade
from a2a_grpc.store.sql.upkeep.export import Chosen, exported
from a2a_grpc.store.sql.upkeep.lines import Export, read_export
from a2a_grpc.store.sql.upkeep.opened import opened
from a2a_grpc.store.values import Scope
from a2a_grpc.store.writes import Append, Create
from a2a_grpc.wire import SendMessageRequest, TaskPushNotificationConfig
from tests.cli.terminal import error_of, objects, run, running
from tests.harness import eventually

ENDED, TALK, LARGE, RUNS, ASKS = (KEY._replace(id=name) for name in ("t-ended", "t-1", "t-large", "t-runs", "t-asks"))
SECRET = b"\x00sealed"


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[SqlStore]:
    await upgrade(url)
    store = open_store(url)
    assert isinstance(store, SqlStore)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def fill(url: str, *, large: int) -> None:
    """Tasks that have ended, that wait for their user and that run; one is too large for one piece."""
    request = SendMessageRequest().SerializeToString()
    async with store_at(url) as store:
        assert await store.belong_to("Poet") == "Poet"
        await store.join("replica-1", 60)
        epoch = await create(store, ENDED)
        await append(store, status(2, COMPLETED), epoch=epoch, key=ENDED)
        first, *others = talk()
        epoch = await store.write(Create(TALK, first, "c-1", "replica-1", bind=("key", Binding(b"f", TALK.id, 1))))
        for record in others:
            epoch_of = Append(TALK, record, epoch, done=record.turn - 1)
            await store.write(epoch_of)
        epoch = await create(store, LARGE)
        await append(store, chunk(2, "x" * large, append=False, state=SUBMITTED), epoch=epoch, key=LARGE)
        for seq in range(3, 6):
            await append(store, chunk(seq, "é" * 1000, state=SUBMITTED), epoch=epoch, key=LARGE)
        kept = Pending(1, "poem", request, WAITING.caller)
        epoch = await store.write(Create(RUNS, born(RUNS), "c-1", "replica-1", pending=kept))
        for turn in (0, 1):
            await store.put_note(RUNS, Note(turn, "é'", b"\0\xff" * turn), epoch=epoch)
        epoch = await create(store, ASKS)
        await append(store, status(2, INPUT_REQUIRED), epoch=epoch, key=ASKS, release=True)
        config = TaskPushNotificationConfig(id="p", url="https://hooks.example/").SerializeToString()
        await store.add_push(ASKS, Push("with", config, SECRET, "1.0"), limit=9)
        await store.add_push(ASKS, Push("without", config, b"", "1.0"), limit=9)
        await store.leave("replica-1")


async def everything(url: str) -> dict[str, object]:
    """What readers find in a store."""
    async with store_at(url) as store:
        found: dict[str, object] = {"agent": await store.belong_to("Poet")}
        for key in (ENDED, TALK, LARGE, RUNS, ASKS):
            head = await store.head(key)
            assert head is not None
            found[key.id] = head._replace(replica="", is_lost=False)
            found[f"{key.id} task"] = await store.load(key)
            found[f"{key.id} records"] = await store.read(key, 0, 10_000)
            found[f"{key.id} messages"] = await store.pending(key)
        found["orphans"] = sorted(await store.orphaned(99))
        found["pushes"] = await store.list_pushes(ASKS, "", 99)
        found["notes"] = [await store.get_note(RUNS, turn, "é'") for turn in (0, 1, 2)]
        found["bound"] = await store.bound(Scope(KEY.tenant, KEY.owner), "key")
        found["waiting"] = await store.count_waiting()
        return found


async def check_round_trip(source: str, target: str, tmp_path: Path, *, large: int = 10) -> None:
    await fill(source, large=large)
    await upgrade(target)
    file = tmp_path / "tasks.jsonl"
    done = await run("db", "export", "--store", source, "--with-secrets", str(file))
    assert (done.code, done.out, done.err) == (0, "", "5 tasks exported\n")
    assert file.stat().st_mode & 0o777 == 0o600
    done = await run("db", "import", "--store", target, "-o", "json", str(file))
    assert (done.code, json.loads(done.out)) == (0, {"imported": 5, "skipped": 0}), done.err
    before, after = await everything(source), await everything(target)
    for name in before:
        assert after[name] == before[name], name
    assert before["notes"] == [b"", b"\0\xff", None]
    assert before["orphans"] == sorted([LARGE, RUNS]), "what ran is taken over"


async def test_tasks_come_from_one_database_to_another_as_they_are(tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/other.db"
    await check_round_trip(f"sqlite:///{tmp_path}/tasks.db", target, tmp_path)
    again = error_of(await run("db", "import", "--store", target, str(tmp_path / "tasks.jsonl")), 2)
    assert again.startswith("the database has 5 of the 5 tasks already, for example 't-1'; nothing was written")
    done = await run("db", "import", "--store", target, "--skip-existing", str(tmp_path / "tasks.jsonl"))
    assert done.out == f"{target}: 0 tasks imported, 5 left out, which it had\n"


@pytest.mark.long
async def test_tasks_come_from_sqlite_to_postgresql_and_from_there_to_mariadb(
    tmp_path: Path, postgres_store: str, mariadb_url: str
) -> None:
    await check_round_trip(f"sqlite:///{tmp_path}/tasks.db", postgres_store, tmp_path, large=5 << 20)
    await upgrade(mariadb_url)
    async with running("db", "export", "--with-secrets", "--store", postgres_store) as command:
        exported_ = await command.finished()
    done = await run("db", "import", "--store", mariadb_url, stdin=exported_.out)
    assert done.code == 0, done.err
    before, after = await everything(postgres_store), await everything(mariadb_url)
    assert after == before


async def test_secrets_stay_where_they_are_and_a_config_that_lacks_them_is_dead(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/tasks.db", f"sqlite:///{tmp_path}/other.db"
    await fill(source, large=10)
    await upgrade(target)
    done = await run("db", "export", "--store", source, "--task", ASKS.id)
    assert base64.b64encode(SECRET).decode() not in done.out
    lines = objects(done.out)
    assert [next(iter(line)) for line in lines] == [
        "a2a_grpc",
        "task",
        "push",
        "push",
        "record",
        "record",
        "end",
        "done",
    ]
    done = await run("db", "import", "--store", target, "-", stdin=done.out)
    assert (done.code, done.out) == (0, f"{target}: 1 task imported\n")
    dead = objects((await run("push", "dead", "list", "--store", target, "-o", "json")).out)
    said = "the config was exported without its secrets; create it again"
    assert [(one["config"], one["error"]) for one in dead] == [("with", said)]


async def test_a_wrong_line_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/tasks.db", f"sqlite:///{tmp_path}/other.db"
    await fill(source, large=10)
    await upgrade(target)
    good = (await run("db", "export", "--store", source)).out.splitlines()
    others = (await run("db", "export", "--store", source, "--state", "completed")).out.splitlines()
    assert [line for line in others if '"task"' in line] == [line for line in good if '"task"' in line][:2]
    place = next(number for number, line in enumerate(good) if line.startswith('{"record"'))
    record = json.loads(good[place])

    def wrong(**changed: object) -> list[str]:
        return [*good[:place], json.dumps({"record": {**record["record"], **changed}}), *good[place + 1 :]]

    cases = {
        "is not JSON": [*good[:3], "{", *good[4:]],
        "before its last line": good[:-1],
        "the export says": [*good[:-1], '{"done": {"tasks": 7}}'],
        "has 1 records, and its row says 2": [*good[:place], *good[place + 1 :]],
        "is not Base64": wrong(event="?"),
        "has no field 'event'": wrong(event=None),
        "must be a whole number": wrong(turn=-1),
        "unknown field 'colour'": wrong(colour="red"),
        "its row does not fit its records": wrong(event=""),
        "the format is 2": ['{"a2a_grpc": {"format": 2, "agent": ""}}', *good[1:]],
        "is this a file of 'a2a-grpc db export'": good[1:],
        "'record' belongs to no task": [good[0], good[place]],
        "comes after the last line": [*good, good[-1]],
    }
    for said, lines in cases.items():
        with pytest.raises(ConfigurationError, match=said):
            list(read_export([line.encode() for line in lines], Export()))
    assert len(list(read_export([line.encode() for line in good], Export()))) == 6
    end = next(number for number, line in enumerate(good) if line.startswith('{"end"'))
    twice = [*good[: end + 1], *good[1 : end + 1], *good[end + 1 : -1], '{"done":{"tasks":6}}']
    told = error_of(await run("db", "import", "--store", target, stdin="\n".join(twice)), 2)
    assert "task 't-ended' is there twice" in told
    async with store_at(target) as store:
        assert await store.belong_to("Other") == "Other", "nothing was written, not even the name of the agent"
    told = error_of(await run("db", "import", "--store", target, stdin="\n".join(good)), 2)
    assert told.startswith("the database keeps the tasks of the agent 'Other', and the export those of 'Poet'")
    assert (await run("db", "stats", "--store", target, "-o", "json")).out.startswith('{"agent": "Other", "tasks": 0,')


async def test_a_task_that_is_written_meanwhile_is_exported_as_of_one_moment(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    async with store_at(url) as store:
        epoch = await create(store, TALK)
        await append(store, chunk(2, "x" * (5 << 20), append=False, state=SUBMITTED), epoch=epoch, key=TALK)
        lines = []
        async with opened(url) as database:
            async for line in exported(database, Chosen()):
                lines.append(json.dumps(line).encode())
                if len(lines) < 10:  # after its row was read, and in the middle of its records
                    await append(store, chunk(len(lines) + 2, "later", state=SUBMITTED), epoch=epoch, key=TALK)
    [task] = list(read_export(lines, Export()))
    assert not isinstance(task, dict)
    count = len(task.parts["record"])
    assert count == task.row["seq"] == 3, "the record before the first line of the task, and none after"


@pytest.mark.long
async def test_an_import_that_was_killed_is_finished_by_another_one(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/tasks.db", f"sqlite:///{tmp_path}/other.db"
    count = 3000
    async with store_at(source) as store:
        await asyncio.gather(*(create(store, KEY._replace(id=f"t-{number}")) for number in range(count)))
    await upgrade(target)
    exported_ = (await run("db", "export", "--store", source)).out

    def stored() -> int:
        with sqlite3.connect(DatabaseUrl.parse(target).location) as database:
            return int(database.execute("SELECT count(*) FROM a2a_task").fetchone()[0])

    def has_begun() -> None:
        assert stored() > 0

    async with running("db", "import", "--store", target, stdin=exported_) as command:
        await eventually(has_begun)
        command.process.kill()
    assert 0 < stored() < count
    done = await run("db", "import", "--store", target, "--skip-existing", "-o", "json", stdin=exported_)
    said = json.loads(done.out)
    assert said["imported"] + said["skipped"] == count
    assert said["skipped"] > 0
    assert stored() == count


async def test_stats_count_and_purge_deletes_only_what_is_old_and_only_if_told(tmp_path: Path) -> None:
    await check_stats_and_purge(f"sqlite:///{tmp_path}/tasks.db")


@pytest.mark.long
async def test_stats_and_purge_do_the_same_on_postgresql_and_mariadb(postgres_store: str, mariadb_url: str) -> None:
    await check_stats_and_purge(postgres_store)
    await check_stats_and_purge(mariadb_url)


async def check_stats_and_purge(url: str) -> None:
    await fill(url, large=10)
    counted = json.loads((await run("db", "stats", "--store", url, "-o", "json")).out)
    assert counted["agent"] == "Poet"
    assert counted["tasks"] == 5
    assert {name: of["tasks"] for name, of in counted["states"].items()} == {
        "SUBMITTED": 2, "COMPLETED": 2, "INPUT_REQUIRED": 1
    }  # fmt: skip
    assert counted["states"]["COMPLETED"]["records"] == 13
    assert counted["states"]["COMPLETED"]["oldest"] == "1970-01-01T00:00:02Z"
    others = {name: counted[name] for name in ("held", "waiting_messages", "idempotency_keys", "push_configs")}
    assert (counted["notes"], counted["note_bytes"]) == (2, 2)
    assert others == {"held": 2, "waiting_messages": 1, "idempotency_keys": 1, "push_configs": {"active": 2}}
    text = (await run("db", "stats", "--store", url)).out
    assert "COMPLETED" in text
    assert "push configs: 2 active; idempotency keys: 1" in text
    assert "results of steps and remembered values: 2, 2 B" in text
    purge = ("db", "purge", "--store", url)
    assert (await run(*purge, "--older-than", "1d", "--yes", "-o", "json")).out == (
        '{"deleted": true, "tasks": 0, "states": {}}\n'
    )
    done = await run(*purge, "--older-than", "0s")
    assert done.out.startswith("COMPLETED: 2 tasks, ")
    assert done.out.endswith("nothing was deleted; give --yes to delete these tasks\n")
    assert (await run(*purge, "--older-than", "0s", "--state", "failed", "--yes")).out.endswith(" 0 tasks deleted\n")
    assert (await run(*purge, "--older-than", "0s", "--yes")).out.endswith(" 2 tasks deleted\n")
    left = json.loads((await run("db", "stats", "--store", url, "-o", "json")).out)
    assert set(left["states"]) == {"SUBMITTED", "INPUT_REQUIRED"}
    said = error_of(await run(*purge, "--older-than", "1d", "--state", "working"), 2)
    assert said == "--state is 'working'; it must be one of COMPLETED, FAILED, CANCELED, REJECTED"
    assert "--older-than is 'soon'" in error_of(await run(*purge, "--older-than", "soon"), 2)


@pytest.mark.parametrize("verb", ["stats", "export", "import", "purge --older-than 1d --yes"])
async def test_a_file_that_is_not_there_or_is_too_old_is_refused_and_not_made(verb: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    said = error_of(await run("db", *verb.split(), "--store", url), 2)
    assert said == f"store is '{url}'; there is no file {tmp_path}/tasks.db"
    assert list(tmp_path.iterdir()) == []


async def test_an_import_takes_a_pipe_and_an_export_writes_to_a_device(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db"
    for store in (source, target):
        assert (await run("db", "upgrade", "--store", store)).code == 0
    exported = await run("db", "export", "--store", source, "/dev/stdout")
    assert exported.code == 0, exported.err
    assert Path("/dev/stdout").is_symlink()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_text, exported.out))
    imported = await run("db", "import", "--store", target, str(pipe))
    await writing
    assert imported.code == 0, imported.err
