"""`a2a-grpc push dead` on the database of a store."""

import json
from pathlib import Path

from a2a_grpc.store import PushStep, Then
from a2a_grpc.store.contract.given import KEY, ME, create
from a2a_grpc.store.contract.outbox import PUSH
from a2a_grpc.store.sql import SqlStore
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.covers import covers
from tests.harness import run_program


async def _filled(url: str, *ids: str) -> None:
    store = SqlStore(url)
    await store.open()
    config = TaskPushNotificationConfig(url="https://user:pass@hook.example/a").SerializeToString()
    await create(store, pushes=tuple(PUSH._replace(id=id, config=config) for id in ids))
    for claim in await store.claim_pushes(ME, 10):
        await store.step_push(PushStep(claim.name, claim.epoch, 1, Then.DIE, attempts=9, error="status 500"))
    await store.close()


async def _run(*words: str) -> tuple[int, str]:
    code, out, err = await run_program("-m", "a2a_grpc", "push", "dead", *words)
    assert err == ""
    return code, out


@covers("PUSH-5")
async def test_dead_configs_are_listed_shown_replayed_and_dropped(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tasks.db"
    at_store = ("--store", url)
    await _filled(url, "a", "b")
    code, out = await _run("list", *at_store, "-o", "json")
    first, second = map(json.loads, out.splitlines())
    assert (code, first["config"], second["config"]) == (0, "a", "b")
    assert (first["task"], first["attempts"], first["error"]) == (KEY.id, 9, "status 500")
    assert "pass" not in out
    assert "secrets" not in out
    assert (await _run("show", KEY.id, "a", *at_store))[1].startswith("task: t-1\nconfig: a\n")
    assert await _run("show", KEY.id, "c", *at_store) == (1, "no such push config is dead\n")
    assert await _run("drop", KEY.id, "a", *at_store) == (0, "1 push config deleted\n")
    assert await _run("replay", "--all", *at_store) == (0, "1 push config due again\n")
    assert await _run("list", *at_store) == (0, "no dead push configs\n")
    store = SqlStore(url)
    await store.open()
    (claim,) = await store.claim_pushes(ME, 10)
    assert (claim.name.id, claim.attempts) == ("b", 0)
    await store.close()
