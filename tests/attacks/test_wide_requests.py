"""Wide requests are refused before they are parsed, and none holds the event loop for long."""

import asyncio
import time
from typing import Any

import grpc
import pytest

from a2a_grpc.errors import InvalidRequestError
from a2a_grpc.parts import value
from a2a_grpc.server.pace import Pace
from a2a_grpc.server.requests import Checks
from a2a_grpc.server.settings import RequestLimits
from a2a_grpc.server.width import Width
from a2a_grpc.wire import SERVICE, AgentCard, Message, Part, SendMessageRequest
from tests.attacks.rig import Target, attacked, run
from tests.attacks.wide import wide_requests
from tests.covers import covers
from tests.harness import Served
from tests.spec.raw_calls import raw_refusal

pytestmark = pytest.mark.alone


@pytest.fixture
def step_s(full: bool) -> float:
    """How long a step may take, in time of this process alone."""
    return 0.01 if full else 0.05


@pytest.fixture(scope="module")
def wide() -> list[tuple[str, str, bytes]]:
    return list(wide_requests())


@covers("VAL-6", "G11")
@pytest.mark.long
async def test_a_wide_request_of_every_method_is_refused_by_the_field_that_is_wide(
    served: Served, wide: list[tuple[str, str, bytes]]
) -> None:
    assert {method for method, _, _ in wide} == {method.name for method in SERVICE.methods}
    assert sum(1 for _, path, _ in wide if path) >= 28
    for method, path, raw in wide:
        refused = await raw_refusal(served, method, raw)
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMS")
        (kind,) = (found.input_type.name for found in SERVICE.methods if found.name == method)
        assert refused.fields == [path or kind]
        assert "has more than" in refused.text


def longest(steps: Any) -> float:
    """Do all steps. Return the time that the longest one took, the refusal included."""
    took = 0.0
    while True:
        begun = time.process_time()
        try:
            next(steps)
        except (StopIteration, InvalidRequestError):
            return max(took, time.process_time() - begun)
        took = max(took, time.process_time() - begun)


def test_no_step_of_counting_a_wide_request_is_long(wide: list[tuple[str, str, bytes]], step_s: float) -> None:
    width = Width(RequestLimits())
    kinds = {method.name: method.input_type._concrete_class for method in SERVICE.methods}
    for method, path, raw in wide:
        steps = width.steps(kinds[method], raw)
        assert longest(steps) < step_s, (method, path)


@pytest.mark.parametrize("content", [list(range(20_000)), {f"k{n}": n for n in range(20_000)}], ids=["list", "object"])
def test_no_step_of_checking_a_request_at_the_limits_is_long(content: Any, step_s: float) -> None:
    limits = RequestLimits()
    request = SendMessageRequest(message=Message(message_id="m", role=1, parts=[Part(data=value(content))]))  # type: ignore[arg-type]
    card = AgentCard(default_input_modes=["*/*"])
    assert longest(Width(limits).steps(SendMessageRequest, request.SerializeToString())) < step_s
    assert longest(Checks(card, limits).sending(request)) < step_s


async def test_works_take_turns_and_a_short_one_does_not_wait_for_a_long_one() -> None:
    pace, order = Pace(), list[str]()

    def work(name: str, steps: int) -> Any:
        for _ in range(steps):
            order.append(name)
            yield

    async with asyncio.timeout(30), asyncio.TaskGroup() as works:
        works.create_task(pace.run(work("long", 50)))
        works.create_task(pace.run(work("short", 2)))
    assert order[:4] == ["long", "short"] * 2
    assert len(order) == 52


async def test_work_that_fails_or_is_canceled_lets_the_others_go_on() -> None:
    pace = Pace()

    def refuse() -> Any:
        yield
        raise InvalidRequestError("no")

    def go_on() -> Any:
        while True:
            yield

    endless = asyncio.create_task(pace.run(go_on()))
    with pytest.raises(InvalidRequestError):
        await pace.run(refuse())
    endless.cancel()
    await asyncio.wait([endless])
    await pace.run(iter([None]))


@pytest.mark.long
async def test_a_good_client_does_not_notice_wide_requests() -> None:
    async with Target.ours() as target:
        attack = run("-m", "tests.attacks.wide", target.address, "8", "3")
        harm = await attacked(target, attack)
    print(harm)
    harm.check(p99_ms=300, grown_mib=128)
