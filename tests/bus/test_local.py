"""Wakes within one process."""

import pytest

from a2a_grpc.bus import open_bus
from tests.bus.contract import BusContract


class TestLocalBus(BusContract):
    @pytest.fixture
    def urls(self) -> tuple[str, str]:
        return "local:", "memory:"

    async def test_it_is_always_healthy(self) -> None:
        bus = open_bus("local:")
        assert bus.is_healthy
        await bus.start()
        await bus.stop()
        assert bus.is_healthy
