"""No secret is printed, whatever goes wrong: each verb, with a canary wherever a user may have put a secret."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import grpc
import pytest

from tests.cli.hostile import Ran, run_many
from tests.cli.terminal import run
from tests.client.peers import Failure, Page, Peer, Site, peering
from tests.covers import covers
from tests.ports import free_port

pytestmark = covers("SEC-7")

CANARY = "C4nary-s3cret.v4lue"

CALLS: tuple[tuple[str, ...], ...] = (
    ("send", "hi"),
    ("stream", "hi"),
    ("subscribe", "t-1"),
    ("wait", "t-1"),
    ("get", "t-1"),
    ("list",),
    ("cancel", "t-1"),
    ("push", "create", "t-1", "https://hooks.example/"),
    ("push", "get", "t-1", "p-1"),
    ("push", "list", "t-1"),
    ("push", "delete", "t-1", "p-1"),
    ("card",),
    ("card", "--extended"),
    ("card", "--validate"),
    ("health",),
    ("ping", "--count=1"),
    ("doctor",),
)
"""Every verb that calls an agent."""

OTHERS: tuple[tuple[str, ...], ...] = (
    ("serve", "nowhere.py"),
    ("db", "current"),
    ("db", "upgrade"),
    ("completion", "bash"),
    ("db",),
    ("push",),
    (),
)
"""The others."""


def leaks(ran: Iterable[Ran]) -> list[tuple[str, str]]:
    """The commands that printed the canary, or ended by a traceback, with what they printed."""
    return [
        (" ".join(done.arguments), done.out)
        for done in ran
        if CANARY in done.out or "Traceback" in done.out or done.code == "crash"
    ]


async def check(commands: Sequence[Sequence[str]]) -> list[Ran]:
    ran = await run_many(commands, terminal=False)
    assert leaks(ran) == []
    return ran


@pytest.mark.long
async def test_a_mistyped_command_line_repeats_no_value() -> None:
    mistakes: tuple[tuple[str, ...], ...] = (
        ("--tokn", CANARY),
        (f"--tokn={CANARY}",),
        (f"--token{CANARY}",),
        (f"--{CANARY}",),
        (f"-{CANARY}",),
        (f"-Z{CANARY}",),
        ("--output", CANARY),
        (f"-o{CANARY}",),
        ("--timeout", CANARY),
        (f"--as-grpcurl={CANARY}",),
        (f"--help={CANARY}",),
        ("x", "y", "z", "--", CANARY, "--nonsense"),
    )
    commands = [(*verb, *mistake) for verb in (*CALLS[2:], *OTHERS) for mistake in mistakes if verb[:1] != ("ping",)]
    commands += [(CANARY,), ("db", CANARY), ("push", CANARY), ("completion", CANARY), (f"--version={CANARY}",)]
    commands += [("list", CANARY), ("list", "--since", CANARY), ("list", "--limit", CANARY), ("list", "--tls", CANARY)]
    commands += [("db", "current", "--token", CANARY), ("db", "current", f"--token={CANARY}")]
    commands += [("completion", "bash", f"--token={CANARY}"), ("serve", "x.py", f"--token={CANARY}")]
    ran = await check(commands)
    assert {done.code for done in ran if done.arguments[:1] == ("list",) and done.arguments[-1] != CANARY} <= {"2"}


def telling(calls: Iterable[tuple[str, ...]], *options: str) -> list[tuple[str, ...]]:
    """Each call with these options, and with each way to tell more."""
    return [(*call, *options, *more) for call in calls for more in ((), ("-v",), ("-o", "json"), ("--as-grpcurl",))]


CREDENTIALS = (
    ("--token", CANARY),
    ("--api-key", f"x-key={CANARY}"),
    ("-H", f"x-secret: {CANARY}"),
    ("-H", f"authorization: Bearer {CANARY}", "-H", f"cookie: a={CANARY}"),
)


@pytest.mark.long
async def test_credentials_are_in_no_output_of_any_verb() -> None:
    """Answered, refused by a server that sends them back, unreachable."""
    said = f"the token {CANARY} of Bearer {CANARY} is not known"
    refusal = Failure(grpc.StatusCode.UNAUTHENTICATED, said, (("x-said", CANARY), ("x-request-id", CANARY)))
    async with peering() as peer, peering(Peer(always=refusal)) as refusing:
        commands = telling(CALLS, "--timeout=5", f"--agent={peer.address}", *CREDENTIALS[0])
        for credentials in CREDENTIALS:
            commands += telling(CALLS[4:8], "--timeout=5", f"--agent={refusing.address}", *credentials)
            commands += telling(CALLS[4:6], "--connect-timeout-s=0.2", f"--agent=127.0.0.1:{free_port()}", *credentials)
        commands += telling(CALLS, "--timeout=5", f"--agent={refusing.address}", *CREDENTIALS[0])
        ran = await check(commands)
    assert any("UNAUTHENTICATED" in done.out for done in ran)


async def test_secrets_of_push_configs_are_left_to_the_shell() -> None:
    url = f"https://me:{CANARY}@hooks.example/?token={CANARY}"
    options = ("--push-token", CANARY, "--auth-scheme", "Bearer", "--auth-credentials", CANARY)
    async with peering() as peer:
        agent = f"--agent={peer.address}"
        ran = await check(
            [
                ("push", "create", "t-1", url, agent, *options, "-v"),
                ("push", "create", "t-1", url, agent, *options, "--as-grpcurl"),
                (
                    "push",
                    "create",
                    "t-1",
                    url,
                    f"--agent=127.0.0.1:{free_port()}",
                    "--connect-timeout-s=0.2",
                    *options,
                ),
            ]
        )
    assert [call.request.token for call in peer.calls] == [CANARY]
    for variable in ("TOKEN", "CREDENTIALS", "URL"):
        assert f'"$A2A_GRPC_PUSH_{variable}"' in ran[1].out


@pytest.mark.long
async def test_secrets_of_a_target_are_in_no_output_of_any_verb() -> None:
    """In the query of a card's URL, before its host; if the card is not there, is no card, names no agent."""
    async with Site(Page(b"no card")) as broken, Site(Page(status=403)) as forbidden, Site(Page.card()) as good:
        closed = free_port()
        targets = [
            *(f"{site.url}/agent-card.json?token={CANARY}" for site in (broken, forbidden, good)),
            f"http://127.0.0.1:{closed}/a.json?api_key={CANARY}&x=1",
            f"http://me:{CANARY}@127.0.0.1:{closed}/",
            f"http://{CANARY}@127.0.0.1:{closed}/",
            f"grpc://me:{CANARY}@127.0.0.1:{closed}",
            f"me:{CANARY}@127.0.0.1:{closed}",
            f"ftp://me:{CANARY}@host/?token={CANARY}",
            f"unix:/nowhere?token={CANARY}",
            f"file:///nowhere/card.json?token={CANARY}",
            f"nowhere/card.json?token={CANARY}",
            f"grpc://127.0.0.1:{closed}/?token={CANARY}",
            f"127.0.0.1:{closed}?token={CANARY}",
            f"http://127.0.0.1:99999/?token={CANARY}",
        ]
        commands: list[tuple[str, ...]] = []
        for target in targets:
            for call in CALLS if target in targets[:4] else (*CALLS[4:6], CALLS[11], CALLS[-1]):
                commands.append((*call, "--timeout=5", "--connect-timeout-s=0.2", "-v", "--agent", target))
            commands.append((f"A2A_GRPC_AGENT={target}", "list", "-o", "json", "--connect-timeout-s=0.2"))
        await check(commands)


async def test_the_command_to_go_on_with_leaves_a_secret_target_to_the_shell() -> None:
    from a2a_grpc.lifecycle import INPUT_REQUIRED
    from tests.cli.hostile import hostile_agent, hostile_task

    async with hostile_agent(hostile_task(INPUT_REQUIRED)) as agent, Site(Page.card(agent.address)) as site:
        target = f"{site.url}/agent-card.json?token={CANARY}"
        done = await run("send", "hi", "--agent", target)
    assert CANARY not in done.out + done.err
    assert '--agent "$A2A_GRPC_AGENT"' in done.err


STORES = (
    f"postgresql://me:{CANARY}@127.0.0.1:1/tasks",
    f"postgresql://127.0.0.1:1/tasks?user=me&password={CANARY}",
    f"postgresql://me:{CANARY}@127.0.0.1:port/tasks",
    f"postgresql:/me:{CANARY}@127.0.0.1/tasks",
    f"mysql://me:{CANARY}@127.0.0.1:1/tasks",
    f"mysql://127.0.0.1:1/tasks?password={CANARY}",
    f"sqlite:///nowhere/tasks.db?password={CANARY}",
    f"redis://:{CANARY}@127.0.0.1/",
    f"nowhere:{CANARY}@x",
    f"host=127.0.0.1 user=me password={CANARY}",
)


@pytest.mark.long
async def test_secrets_of_a_store_or_an_address_are_in_no_output(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from a2a_grpc import Agent\nagent = Agent('One', 'Is one.')\n")
    serve = ("serve", str(tmp_path / "one.py"), "--listen=127.0.0.1:0", "--http-listen=off")
    commands: list[tuple[str, ...]] = []
    for store in STORES:
        commands += [("db", "current", "--store", store), ("db", "upgrade", "--store", store)]
        commands += [(f"A2A_GRPC_STORE={store}", "db", "current", "-o", "json")]
        commands += [(*serve, "--store", store)] if "127.0.0.1:1/" not in store else []
    for advertised in (f"https://me:{CANARY}@host:port", f"https://host:1:2/?token={CANARY}", f"me:{CANARY}@host:443",
                       f"host:443?token={CANARY}", f"ftp://host/?token={CANARY}"):  # fmt: skip
        commands.append((*serve, "--store=memory:", "--advertise", advertised, "--listen=0.0.0.0:0"))
        commands.append((*serve, "--store=memory:", "--listen", advertised))
        commands.append((f"A2A_GRPC_ADVERTISE={advertised}", *serve, "--store=memory:", "--listen=nonsense"))
    await check(commands)


async def test_a_traceback_and_the_log_mask_what_looks_like_a_secret(tmp_path: Path) -> None:
    """An agent that cannot be loaded, as the error of some library names a URL."""
    (tmp_path / "one.py").write_text(f"raise RuntimeError('cannot reach https://me:{CANARY}@host/?token={CANARY}')\n")
    done = await run("serve", str(tmp_path / "one.py"))
    assert done.code != 0
    assert "cannot reach" in done.err
    assert CANARY not in done.out + done.err


async def test_help_shows_no_value_of_the_environment() -> None:
    names = ("TOKEN", "API_KEY", "AGENT", "STORE", "PUSH_TOKEN", "PUSH_CREDENTIALS", "ADVERTISE", "TOKEN_FILE")
    verbs = {(call[0], *([call[1]] if call[0] == "push" else [])) for call in CALLS} | {("serve",), ("db", "current")}
    variables = [f"A2A_GRPC_{name}={CANARY}" for name in names]
    await check([(*variables, *verb, "--help") for verb in sorted(verbs)])
