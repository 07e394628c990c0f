"""Lines of gRPC's log that a client can cause are short and rare."""

import asyncio
import logging

import pytest

from a2a_grpc.listening.noise import GRPC, QuietGrpc


def test_a_canceled_call_is_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(GRPC)
    with QuietGrpc():
        for _ in range(3):
            try:
                raise asyncio.CancelledError
            except asyncio.CancelledError:
                logger.exception("Exception not handled by _handle_exceptions in servicer method [/x/Y]")
    assert [record.getMessage() for record in caplog.records] == ["a call was canceled before its handler started"]
    assert caplog.records[0].exc_info is None


def test_other_errors_of_grpc_keep_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(GRPC)
    with QuietGrpc():
        try:
            raise ValueError("a bug")
        except ValueError:
            logger.exception("Exception not handled by _handle_exceptions in servicer method [/x/Y]")
    assert caplog.records[0].exc_info is not None
