"""A client after a fork says that it cannot be used, where gRPC would hang or crash."""

import os

import pytest

from tests.client.peers import peering
from tests.harness import run_program

CASES = {
    "used": "the client was opened in process",
    "read": "the client was opened in process",
    "loop": "the client was opened in process",
    "multiprocessing": "the client was opened in process",
    "another": "was forked while it used gRPC",
    "closed": "it works",
    "after": "it works",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.few(1)
async def test_after_a_fork_a_client_says_that_it_cannot_be_used(case: str) -> None:
    async with peering() as peer:
        code, out, err = await run_program("-m", "tests.client.forked", peer.address, case)
    assert code == 0, err
    said, ended, last = out.splitlines()
    assert CASES[case] in said
    assert "spawn" in said or said == "it works"
    assert (ended, last) == ("ended with 0", "the parent goes on")
