"""Versions: every call says which it speaks (spec §3.6)."""

from typing import Any

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.wire import AgentCard, AgentInterface, ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, refusal, request, scripted_agent, serving
from tests.spec.rpcs import PAST_THE_FIRST_CHECKS, RPCS, call_of, reason_of

ADDRESS = "agent.example:443"


def listing(version: str, *, url: str = ADDRESS, binding: str = "GRPC") -> Agent:
    """An agent whose card lists another interface."""
    interface = AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
    agent = Agent("Versatile", "Speaks versions.", card=AgentCard(supported_interfaces=[interface]))

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    return agent


async def assert_not_supported(served: Served, rpc: str, version: str | None, requested: str) -> None:
    metadata = () if version is None else (("a2a-version", version),)
    refused = await refusal(call_of(served, rpc, *metadata))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_NOT_SUPPORTED")
    assert refused.metadata == {"requested_version": requested, "supported_versions": "1.0"}


@covers("VER-2", "OP-2")
@pytest.mark.parametrize("rpc", RPCS)
async def test_version_1_0_is_served_on_every_rpc(served: Served, rpc: str) -> None:
    assert await reason_of(call_of(served, rpc, *V1)) == PAST_THE_FIRST_CHECKS[rpc]


@covers("VER-3", "VER-9", "META-4", "OP-2")
@pytest.mark.parametrize("rpc", RPCS)
async def test_no_version_means_0_3_and_is_refused_on_every_rpc(served: Served, rpc: str) -> None:
    await assert_not_supported(served, rpc, None, "0.3")
    await assert_not_supported(served, rpc, "", "0.3")


@covers("VER-2", "VER-9", "P10")
@pytest.mark.parametrize("rpc", RPCS)
async def test_another_version_is_refused_on_every_rpc(served: Served, rpc: str) -> None:
    await assert_not_supported(served, rpc, "0.3", "0.3")
    await assert_not_supported(served, rpc, "2.0", "2.0")


@covers("VER-2", "VER-4", "VER-9", "P10")
@pytest.mark.parametrize(
    "version",
    [
        "1.1",
        "1",
        "1.",
        ".0",
        "v1.0",
        "1.0.",
        "1.0.x",
        "1.0.0.0",
        "01.0",
        "1,0",
        "latest",
        "garbage",
        "1.0-garbage",
        "-1.0",
        "+1.0",
    ],
)
async def test_what_is_not_1_0_is_refused(served: Served, version: str) -> None:
    await assert_not_supported(served, "ListTasks", version, version)


@covers("VER-4")
@pytest.mark.parametrize("version", ["1.0", "1.0.0", "1.0.3", "1.0.42"])
async def test_patch_numbers_do_not_count(served: Served, version: str) -> None:
    assert await reason_of(call_of(served, "ListTasks", ("a2a-version", version))) == ""


@covers("VER-3")
async def test_a_refused_send_begins_no_task(served: Served) -> None:
    assert (await refusal(served.stub.SendMessage(request()))).reason == "VERSION_NOT_SUPPORTED"
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@covers("VER-10")
@pytest.mark.parametrize("rpc", RPCS)
async def test_a_lenient_server_takes_calls_without_version_on_every_rpc(rpc: str) -> None:
    async with serving(scripted_agent(), lenient_version=True) as served:
        assert await reason_of(call_of(served, rpc)) == PAST_THE_FIRST_CHECKS[rpc]
        assert await reason_of(call_of(served, rpc, ("a2a-version", ""))) == PAST_THE_FIRST_CHECKS[rpc]


@covers("VER-10")
@pytest.mark.parametrize("version", ["0.3", "2.0", "1.1"])
async def test_a_lenient_server_refuses_a_wrong_version_that_is_said(version: str) -> None:
    async with serving(scripted_agent(), lenient_version=True) as served:
        await assert_not_supported(served, "ListTasks", version, version)


@covers("VER-9")
async def test_another_minor_version_is_served_where_the_interface_lists_it() -> None:
    async with serving(listing("1.1"), advertise=ADDRESS) as served:
        assert await reason_of(call_of(served, "ListTasks", ("a2a-version", "1.1"))) == ""
        assert await reason_of(call_of(served, "ListTasks", *V1)) == ""
        refused = await refusal(call_of(served, "ListTasks", ("a2a-version", "1.2")))
        assert refused.metadata == {"requested_version": "1.2", "supported_versions": "1.0,1.1"}


@covers("VER-2", "TEN-6")
@pytest.mark.parametrize(
    "agent",
    [listing("1.1", url="other.example:443"), listing("1.1", binding="JSONRPC")],
    ids=["another address", "another binding"],
)
async def test_the_versions_of_other_interfaces_are_not_served_here(agent: Agent) -> None:
    async with serving(agent, advertise=ADDRESS) as served:
        await assert_not_supported(served, "ListTasks", "1.1", "1.1")


@covers("V03-2")
@pytest.mark.parametrize("service", ["a2a.v1.A2AService", "a2a.A2AService"])
@pytest.mark.parametrize("method", ["SendMessage", "SendStreamingMessage", "TaskSubscription"])
async def test_callers_of_another_versions_service_hear_which_one_is_served(
    served: Served, service: str, method: str
) -> None:
    call: Any = served.channel.unary_unary(f"/{service}/{method}")
    refused = await refusal(call(b""))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED
    assert refused.text == (
        f"this server speaks A2A 1.0, which is the service lf.a2a.v1.A2AService; {service} is another version's"
    )


async def test_a_service_that_is_nobodys_is_unimplemented(served: Served) -> None:
    call: Any = served.channel.unary_unary("/example.Greeter/Hello")
    refused = await refusal(call(b""))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED
