"""Every option has an environment variable, and a variable that means nothing is named."""

import json
import re
from dataclasses import fields

from a2a_grpc.cli.ready import OPTIONS as READY
from a2a_grpc.client import ClientSettings
from a2a_grpc.config import OPTIONS, PREFIX, unknown_variables, variable_of
from a2a_grpc.server.loaded import SETTINGS
from tests.cli.terminal import at, objects, run, run_all, running
from tests.cli.test_help import commands
from tests.harness import Served

EAGER = {"--version", "--install-completion", "--show-completion", "--help"}
"""Options that print something and end: no variable is to have that effect."""
WITHOUT = [
    *((("init",), [f"--{name}"]) for name in ("name", "description", "kind", "yes", "force")),
    *((("serve",), [f"--{name.replace('_', '-')}"]) for name, *_ in READY),
    (("serve",), ["--check"]),
    (("sentinel",), ["--check"]),
    (("send",), ["--force"]),
    (("get",), ["--force"]),
    (("keys", "new"), ["--tenant"]),
    (("keys", "new"), ["--scope"]),
    (("db", "purge"), ["--yes"]),
]
"""Options of a new key: the variables of the same names are those of callers, and must not limit or widen the key. No
variable may say yes to a purge, replace files, or keep a server from serving. What is served, or written for a new
agent, stands on the command line, as the file of an agent does."""


def test_every_option_of_every_command_names_its_variable_and_each_is_known() -> None:
    missing, found = [], set()
    for path, command in commands():
        for parameter in command.params:
            if parameter.param_type_name != "option" or EAGER & set(parameter.opts):
                continue
            named = re.search(r"env: A2A_GRPC_(\w+)", parameter.help or "")
            if named is None:
                missing.append((path, parameter.opts))
            else:
                found.add(named[1].lower())
    variables = [variable_of(item) for kind in (*SETTINGS, ClientSettings) for item in fields(kind)]
    settings = {variable.removeprefix(PREFIX).lower() for variable in variables}
    assert len(settings) == len(variables), "no variable sets two things"
    assert missing == WITHOUT
    assert found - settings == OPTIONS - {"worker", "oauth2_client_secret", "log_key"}, (
        "these are set by other programs"
    )
    assert settings & OPTIONS == set(), "no variable means two things"


def test_a_variable_that_means_nothing_is_found_with_the_nearest_name() -> None:
    given = {"A2A_GRPC_MAX_RUN": "3", "A2A_GRPC_QUITE_ELSE": "x", "A2A_GRPC_MAX_RUNS": "3", "HOME": "/",
             "A2A_GRPC_TEST_POSTGRES": "x", "A2A_GRPC_OUTPUT": "json"}  # fmt: skip
    assert unknown_variables(SETTINGS, given) == {"A2A_GRPC_MAX_RUN": "A2A_GRPC_MAX_RUNS", "A2A_GRPC_QUITE_ELSE": ""}


async def test_a_verb_and_a_server_warn_of_it_and_go_on(served: Served) -> None:
    wrong = {"A2A_GRPC_MAX_RUN": "3", "A2A_GRPC_MAX_RUNS": "3"}
    said = "the variable A2A_GRPC_MAX_RUN means nothing to a2a-grpc; did you mean A2A_GRPC_MAX_RUNS?\n"
    done = await run("send", at(served), "hi", env=wrong)
    assert (done.code, done.out) == (0, "hi\n")
    assert done.err.startswith(f"Warning: {said}")
    options = ("--listen=127.0.0.1:0", "--http-listen=off", "--store=memory:")
    async with running("serve", "servers/scripted.py", *options, env=wrong) as serving:
        await serving.out.until("Ready")
        line = await serving.err.until(said)
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING a2a_grpc.server the variable", line)


async def test_options_come_from_their_variables_and_those_of_the_command_line_count_before_them(
    served: Served,
) -> None:
    variables = {"A2A_GRPC_OUTPUT": "json", "A2A_GRPC_HEADER": "x-one: a b\nx-two: c", "A2A_GRPC_LIMIT": "1"}
    await run_all(("send", at(served), "one"), ("send", at(served), "two"))
    by_variable, by_option, wrong = (
        await run("list", at(served), env=variables),
        await run("list", at(served), "--limit=2", env=variables),
        await run("list", at(served), env={"A2A_GRPC_LIMIT": "many"}),
    )
    assert (len(objects(by_variable.out)), len(objects(by_option.out))) == (1, 2)
    assert all("id" in json.loads(line) for line in by_option.out.splitlines())
    assert (wrong.code, wrong.out) == (2, "")
    assert (
        "Error: --limit is 'many' (from A2A_GRPC_LIMIT); give a whole number, at least 1, for example 50\n" in wrong.err
    )


async def test_the_tenant_of_a_card_and_that_of_requests_have_variables_of_their_own() -> None:
    options = ("--listen=127.0.0.1:0", "--http-listen=127.0.0.1:0", "--store=memory:")
    variables = {"A2A_GRPC_TENANT": "of-requests", "A2A_GRPC_CARD_TENANT": "of-the-card"}
    async with running("serve", "servers/scripted.py", *options, env=variables) as serving:
        ready = await serving.out.until("Ready")
        url = re.findall(r"http=(\S+)", ready)[-1]
        card = await run("card", f"--agent={url}", "-o", "json")
    assert [interface["tenant"] for interface in json.loads(card.out)["supportedInterfaces"]] == ["of-the-card"]
