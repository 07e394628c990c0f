"""Answer the questions of several callers in one transaction, if they ask at about the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

from a2a_grpc.database.unavailable import StoreUnavailable
from a2a_grpc.uncancelled import uncancelled

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

MAX_QUESTIONS = 500
"""Questions in one transaction, unless the caller sets another limit."""
TURNS = 3
"""Turns of the event loop for which a transaction waits, so that more questions or writes can join it."""
PAUSE_S, MAX_PAUSES = 0.002, 5
"""Pauses of a patient transaction, and their number at most. It begins after the first pause in which no question has
joined it. Of thirty requests at once, the first went alone without a pause, and the others waited for its commits."""


class Together(Generic[Q, A]):
    """Answers questions, many of them in one transaction.

    Guarantees:

    - A transaction begins after its questions were asked, so an answer is as new as its question.
    - Questions that are asked during a transaction go into the next one. There is no timer, unless the arguments ask
      for one.
    - Equal questions are asked once.

    Args:
        ask: A function that answers some questions in one transaction. It gets each question once.
        is_patient: True if a transaction waits some milliseconds for more questions. Use this if answers start work
            in other places, which is better done together.
        gather_s: Seconds that each transaction waits. Use this for many small writes whose callers have time.
        max_questions: The largest number of questions in one transaction.
        size_of: A function that returns the size of a question.
        max_size: The largest size of all questions in one transaction. A single question may be larger.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Q]], Awaitable[Mapping[Q, A]]],
        *,
        is_patient: bool = False,
        gather_s: float = 0.0,
        max_questions: int = MAX_QUESTIONS,
        size_of: Callable[[Q], int] = lambda question: 0,
        max_size: int = 0,
    ) -> None:
        self._ask = ask
        self._gather_s = gather_s
        self._is_patient = is_patient
        self._max_questions = max_questions
        self._size_of = size_of
        self._max_size = max_size
        self._waiting: dict[Q, asyncio.Future[A]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def answer(self, question: Q) -> A:
        """Return the answer. If the caller is canceled, end at once. Use this only for transactions that read."""
        return await asyncio.shield(self._asked(question))

    async def answer_uncancelled(self, question: Q) -> A:
        """Return the answer. If the caller is canceled, wait for the transaction, which may write."""
        return await uncancelled(self._asked(question))

    def _asked(self, question: Q) -> "asyncio.Future[A]":
        waiting = self._waiting.get(question)
        if waiting is None:
            waiting = self._waiting[question] = asyncio.get_running_loop().create_future()
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_on(), name="a2a-grpc store questions")
        return waiting

    async def _ask_on(self) -> None:
        asked: dict[Q, asyncio.Future[A]] = {}
        try:
            while self._waiting:
                await self._wait_for_others()
                asked = {question: self._waiting.pop(question) for question in self._next_questions()}
                try:
                    answers = await self._ask(list(asked))
                except Exception as error:
                    _fail(asked, error)
                    continue
                for question, waiting in asked.items():
                    waiting.set_result(answers[question])
        finally:
            # Questions are left only if this task was canceled.
            _fail({**asked, **self._waiting}, StoreUnavailable("the store is closed"))

    def _next_questions(self) -> list[Q]:
        """Return the questions of the next transaction, at least one."""
        first, *others = islice(self._waiting, self._max_questions)
        together, size = [first], self._size_of(first)
        for question in others:
            size += self._size_of(question)
            if size > self._max_size:
                break
            together.append(question)
        return together

    async def _wait_for_others(self) -> None:
        if self._gather_s:
            await asyncio.sleep(self._gather_s)
            return
        for _ in range(MAX_PAUSES if self._is_patient else 0):
            count = len(self._waiting)
            await asyncio.sleep(PAUSE_S)
            if len(self._waiting) == count:
                return
        for _ in range(TURNS):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        if self._asking is not None and not self._asking.done():
            self._asking.cancel()
            await asyncio.wait([self._asking])


def _fail(asked: Mapping[Q, "asyncio.Future[A]"], error: Exception) -> None:
    for waiting in asked.values():
        if not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # every caller may be gone
