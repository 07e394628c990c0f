"""`a2a-grpc push listen`: registers itself, prints what is verified, and deletes what it registered."""

import asyncio
import re

import aiohttp
import pytest

from a2a_grpc.push.delivery import Verdict
from a2a_grpc.push.settings import WebhookSettings
from a2a_grpc.push.webhooks import Webhooks
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.cli.terminal import error_of, objects, run, running
from tests.cli.test_push import Keeper, keeping
from tests.harness import eventually
from tests.push.sockets import delivery

STATUS = b'{"statusUpdate": {"taskId": "t-1", "status": {"state": "TASK_STATE_WORKING"}}}'


async def registered(keeper: Keeper, count: int) -> list[TaskPushNotificationConfig]:
    def all_are() -> None:
        assert len(keeper.configs) == count

    await eventually(all_are)
    return list(keeper.configs.values())


@pytest.mark.parametrize("output", ["text", "json"])
async def test_notifications_of_tasks_are_asked_for_verified_printed_and_at_the_end_no_longer_wanted(
    output: str,
) -> None:
    async with keeping() as (keeper, agent), running(
        "push", "listen", agent, "--task", "t-1", "--task", "t-2", "-o", output, terminal=output == "text"
    ) as command:  # fmt: skip
        one, two = await registered(keeper, 2)
        assert ([one.task_id, two.task_id], one.url, one.token) == (["t-1", "t-2"], two.url, two.token)
        webhooks = Webhooks(WebhookSettings(push_allow="127.0.0.1"))
        wrong = await webhooks.deliver(delivery(one.url, token="wrong"))
        good = await webhooks.deliver(delivery(one.url, token=one.token, text="a result\x1b[2J"))
        again = await webhooks.deliver(delivery(one.url, token=one.token, attempt=2))
        await webhooks.close()
        assert [wrong.verdict, good.verdict, again.verdict] == [
            Verdict.UNAUTHORIZED, Verdict.DELIVERED, Verdict.DELIVERED,
        ]  # fmt: skip
        command.interrupt()
        done = await command.finished()
    assert done.code == 0
    assert keeper.configs == {}
    assert "deleted push config p-1 of task t-1" in done.err
    assert one.token not in done.out + done.err
    if output == "json":
        assert [event["task"]["id"] for event in objects(done.out)] == ["t-1"]
    else:
        assert "a result\N{REPLACEMENT CHARACTER}[2J" in done.out
        assert "COMPLETED" in done.out


async def test_without_a_task_it_says_how_to_register_it() -> None:
    async with running("push", "listen", "-o", "json") as command:
        said = await command.err.until(lambda text: re.search(r"--push-token \S+\n", text))
        url = said.split("listening at ")[1].split()[0]
        token = said.split("--push-token ")[1].split()[0]
        assert f"a2a-grpc push create TASK {url} --push-token {token}" in said
        async with aiohttp.ClientSession() as session:
            for sent, status in (("wrong", 401), (token, 204)):
                headers = {"Content-Type": "application/a2a+json", "X-A2A-Notification-Token": sent}
                async with session.post(url, data=STATUS, headers=headers) as response:
                    assert response.status == status
        command.interrupt()
        done = await command.finished()
    assert done.code == 0
    assert [event["statusUpdate"]["taskId"] for event in objects(done.out)] == ["t-1"]


async def test_what_cannot_work_is_refused_in_one_line() -> None:
    unreachable, as_grpcurl, taken, shown, scheme = await asyncio.gather(
        run("push", "listen", "--host", "0.0.0.0", "--task", "t-1"),
        run("push", "listen", "--as-grpcurl"),
        run("push", "listen", "--jwks-url", "ftp://x"),
        run("push", "listen", "--as-grpcurl", "--task", "t-1", "--url", "https://me.example/"),
        run("push", "listen", "--url", "ftp://me.example/"),
    )
    assert "--url is missing; --host 0.0.0.0 is not an address that an agent can call" in error_of(unreachable, 2)
    assert "--as-grpcurl needs --task and --url" in error_of(as_grpcurl, 2)
    assert "jwks_url is 'ftp://x'" in error_of(taken, 2)
    assert "CreateTaskPushNotificationConfig" in shown.out
    assert "--url is 'ftp://me.example/', which has the scheme 'ftp'" in error_of(scheme, 2)
