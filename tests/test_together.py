"""Questions that are asked at the same time share a transaction."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from a2a_grpc.database import together as together_module
from a2a_grpc.database.together import TURNS, Together


async def asked_in_turns(turns: Sequence[int], *, is_patient: bool) -> list[list[int]]:
    """Ask one question after each of so many turns of the event loop. Return the questions of each transaction."""
    transactions: list[list[int]] = []

    async def ask(questions: Sequence[int]) -> Mapping[int, int]:
        transactions.append(list(questions))
        return {question: question for question in questions}

    together, answers = Together(ask, is_patient=is_patient), []
    for question, pause in enumerate(turns):
        for _ in range(pause):
            await asyncio.sleep(0)
        answers.append(asyncio.create_task(together.answer_uncancelled(question)))
    assert await asyncio.gather(*answers) == list(range(len(turns)))
    await together.stop()
    return transactions


@pytest.mark.parametrize("is_patient", [False, True])
async def test_what_is_asked_in_the_same_turn_shares_a_transaction(is_patient: bool) -> None:
    assert await asked_in_turns([0] * 30, is_patient=is_patient) == [list(range(30))]


async def test_a_patient_transaction_waits_as_long_as_questions_join_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cancel of thirty went alone, and the transaction that ended its task delayed the other 29."""
    monkeypatch.setattr(together_module, "PAUSE_S", 0.2)  # longer than a busy machine takes for some turns
    pauses = [0, *[2 * TURNS] * 9]
    assert await asked_in_turns(pauses, is_patient=True) == [list(range(10))]
    assert len(await asked_in_turns(pauses, is_patient=False)) > 1


async def test_a_patient_transaction_does_not_wait_for_ever() -> None:
    has_begun = asyncio.Event()

    async def ask(questions: Sequence[int]) -> Mapping[int, int]:
        has_begun.set()
        return {question: question for question in questions}

    together = Together(ask, is_patient=True)
    answers = list[asyncio.Task[int]]()
    async with asyncio.timeout(20):
        while not has_begun.is_set():
            answers.append(asyncio.create_task(together.answer_uncancelled(len(answers))))
            await asyncio.sleep(0)
    assert await asyncio.gather(*answers) == list(range(len(answers)))
    await together.stop()


async def test_a_transaction_has_no_more_questions_than_its_limit() -> None:
    transactions: list[int] = []

    async def ask(questions: Sequence[int]) -> Mapping[int, int]:
        transactions.append(len(questions))
        return {question: question for question in questions}

    together = Together(ask, max_questions=10)
    await asyncio.gather(*(together.answer_uncancelled(question) for question in range(25)))
    assert transactions == [10, 10, 5]
    together = Together(ask, size_of=lambda question: question, max_size=10)
    await asyncio.gather(*(together.answer_uncancelled(question) for question in (3, 7, 1, 12, 2, 8)))
    assert transactions[3:] == [2, 1, 1, 2], "a question that is too large is asked alone"
    await together.stop()
