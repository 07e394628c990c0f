"""A2A parameters in the metadata of calls (spec §3.2.6, §10.2)."""

import grpc
import pytest

from a2a_grpc import Agent, Turn
from a2a_grpc.wire import AgentCapabilities, AgentCard, AgentExtension
from tests.covers import covers
from tests.harness import V1, Served, refusal, serving
from tests.spec.rpcs import PAST_THE_FIRST_CHECKS, RPCS, call_of, reason_of

pytestmark = pytest.mark.usefixtures("any_way")

LISTED = ("urn:x:1", "urn:y:1", "urn:Case:1")


def extended() -> Agent:
    """An agent that offers three extensions."""
    extensions = [AgentExtension(uri=uri) for uri in LISTED]
    agent = Agent("Extended", "Offers.", card=AgentCard(capabilities=AgentCapabilities(extensions=extensions)))

    @agent.skill()
    async def echo(turn: Turn) -> str:
        return turn.text

    return agent


async def activated(served: Served, *values: str) -> list[str]:
    """The extensions that a call with these `a2a-extensions` entries activated."""
    call = call_of(served, "ListTasks", *V1, *(("a2a-extensions", value) for value in values))
    await call
    trailing = dict(await call.trailing_metadata())  # type: ignore[attr-defined]
    return [uri for uri in str(trailing.get("a2a-extensions", "")).split(",") if uri]


@covers("META-3", "META-7")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["urn:x:1,urn:y:1"], ["urn:x:1", "urn:y:1"]),
        (["urn:x:1", "urn:y:1"], ["urn:x:1", "urn:y:1"]),
        (["urn:x:1", "urn:y:1,urn:x:1"], ["urn:x:1", "urn:y:1"]),
        (["  urn:x:1 ,  urn:y:1  "], ["urn:x:1", "urn:y:1"]),
        ([",,urn:x:1,", " , "], ["urn:x:1"]),
        ([""], []),
    ],
    ids=["one entry", "repeated entries", "doubled", "white space", "empty items", "nothing"],
)
async def test_lists_may_be_written_in_any_usual_way(values: list[str], expected: list[str]) -> None:
    async with serving(extended()) as served:
        assert await activated(served, *values) == expected


@covers("META-2")
async def test_values_are_case_sensitive() -> None:
    async with serving(extended()) as served:
        assert await activated(served, "URN:X:1,urn:case:1,urn:Case:1") == ["urn:Case:1"]


@covers("META-7")
async def test_white_space_around_the_version_does_not_count(served: Served) -> None:
    assert await reason_of(call_of(served, "ListTasks", ("a2a-version", "  1.0 "))) == ""


@covers("META-7")
async def test_the_same_version_twice_is_no_conflict(served: Served) -> None:
    assert await reason_of(call_of(served, "ListTasks", *V1, ("a2a-version", " 1.0"))) == ""


@covers("META-7", "META-4")
@pytest.mark.parametrize("rpc", RPCS)
async def test_versions_that_contradict_each_other_are_refused(served: Served, rpc: str) -> None:
    refused = await refusal(call_of(served, rpc, *V1, ("a2a-version", "0.3")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
    assert refused.fields == ["a2a-version"]


@covers("META-7")
@pytest.mark.parametrize("versions", [("", "1.0"), ("1.0", "")])
async def test_an_empty_version_which_means_0_3_contradicts_1_0(served: Served, versions: tuple[str, str]) -> None:
    refused = await refusal(call_of(served, "ListTasks", *(("a2a-version", version) for version in versions)))
    assert (refused.reason, refused.fields) == ("INVALID_PARAMS", ["a2a-version"])


@covers("META-1")
@pytest.mark.parametrize("rpc", RPCS)
async def test_metadata_that_is_not_a2as_is_ignored(served: Served, rpc: str) -> None:
    strange = (("x-request-id", "7"), ("a2a-unheard-of", "x"), ("traceparent", f"00-{'0a' * 16}-{'b7' * 8}-01"))
    assert await reason_of(call_of(served, rpc, *V1, *strange)) == PAST_THE_FIRST_CHECKS[rpc]


@covers("META-7")
@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("idempotency-key", ("a", "b")),
        ("a2a-grpc-after", ("1", "2")),
        ("a2a-grpc-cancel-on-disconnect", ("true", "false")),
        ("a2a-grpc-artifacts", ("none", "all")),
    ],
)
async def test_an_entry_given_twice_with_two_values_is_refused(
    served: Served, key: str, values: tuple[str, str]
) -> None:
    refused = await refusal(call_of(served, "ListTasks", *V1, *((key, value) for value in values)))
    assert (refused.code, refused.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [key])
    assert await reason_of(call_of(served, "ListTasks", *V1, (key, values[0]), (key, values[0]))) == ""
