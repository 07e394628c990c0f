"""Which connections wait while more comes in than can be served, and in which order they pass. On real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from a2a_grpc.listening.connections import Connection, can_look
from a2a_grpc.listening.intake import HEAVY, KNOWN_S, LAST_LET_IN_S, LET_IN_S, PASS_S, PLACES, Intake, Load
from a2a_grpc.listening.usage import CROWD, CROWD_PEERS, Crowd
from a2a_grpc.rpc.traffic import Account, Traffic
from a2a_grpc.rpc.turns import Turns
from tests.attacks.test_connections import Listening, received
from tests.harness import eventually

pytestmark = pytest.mark.skipif(not can_look(), reason="needs Linux: TCP_INFO and socket filters")


class Looking:
    """An intake with some connections, of which each look comes a moment later. `held` are those of the last look."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._loads: dict[Connection, Load] = {}
        self.traffic = Traffic()
        self.intake = Intake(self.traffic.is_proven)
        self.now = 100.0
        self.held: set[str] = set()
        self.is_asking: dict[str, bool] = {}

    async def connect(self, count: int) -> list[str]:
        """Open connections. Return their names."""
        clients = [(await self._listening.connect())[0] for _ in range(count)]
        return [f"ipv4:127.0.0.1:{client.getsockname()[1]}" for client in clients]

    def answer(self, peer: str) -> None:
        """Answer a call of a connection."""
        account = self.traffic.account(peer)
        account.accepted += 1
        account.arrived += 1
        account.answered += 1

    def look(
        self,
        *,
        suspects: set[str] = frozenset(),  # type: ignore[assignment]
        passed_s: float = LET_IN_S,
        is_attacked: bool = False,
        is_crowded: bool = False,
    ) -> int:
        """Return how many connections wait."""
        last, self.now = self.now, self.now + passed_s
        self.intake.begin(self.now, is_attacked=is_attacked, is_crowded=is_crowded)
        self.held = set()
        for connection in self._listening.connections.look(hold_new=is_attacked or is_crowded):
            load = self._loads.setdefault(connection, Load(last))
            load.look(self.now, connection, self.traffic.account(connection.peer))
            self.is_asking[connection.peer] = connection.is_asking
            self.intake.look(connection, load, is_suspect=connection.peer in suspects)
            if connection.is_held:
                self.held.add(connection.peer)
        return self.intake.end(is_slow=False)


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    opened = Listening()
    yield opened
    opened.close()


@pytest.fixture
def looking(listening: Listening) -> Looking:
    return Looking(listening)


def arrives(accepted: socket.socket, wanted: bytes) -> None:
    """Raise AssertionError if these bytes have not arrived."""
    assert received(accepted) == wanted


async def test_a_suspect_that_is_cleared_passes_at_once(looking: Looking) -> None:
    suspect, other, _ = await looking.connect(3)
    looking.look(is_attacked=True, suspects={suspect, other})
    assert looking.held == {suspect, other}
    looking.look(is_attacked=True, suspects={other}, passed_s=0.001)
    assert looking.held == {other}


async def test_connections_without_an_answer_wait_while_many_calls_wait_and_pass_one_by_one(looking: Looking) -> None:
    proven, *new = await looking.connect(4)
    looking.answer(proven)
    looking.look()
    assert looking.look(is_crowded=True) == 3
    assert looking.held == set(new)
    waiting = []
    for _ in range(5):
        looking.look(passed_s=2 * LET_IN_S)
        waiting.append(len(looking.held))
    assert waiting == [3, 2, 0, 0, 0]


async def test_a_new_connection_passes_for_as_long_as_it_has_waited_until_it_sends_much_while_many_calls_wait(
    looking: Looking, listening: Listening
) -> None:
    looking.look(is_crowded=True)
    idle, new = await looking.connect(2)
    client = listening.clients[-1]
    client.send(b"preface")

    def asks() -> None:
        assert looking.look(is_crowded=True, passed_s=0.0) == 2
        assert looking.is_asking[new]

    await eventually(asks)
    looking.look(is_crowded=True, passed_s=2 * LAST_LET_IN_S)
    for _ in range(10):
        looking.look(is_crowded=True, passed_s=PASS_S / 20)
        assert looking.held == {idle}
    await eventually(lambda: arrives(listening.accepted[-1], b"preface"))
    looking.traffic.account(new).accepted += HEAVY
    looking.look(is_crowded=True, passed_s=PASS_S / 20)
    assert looking.held == {idle, new}


async def test_two_heavy_connections_do_not_wait_and_an_upload_neither(looking: Looking) -> None:
    peers = await looking.connect(PLACES + 1)
    uploading = looking.traffic.account(peers[-1])
    for peer in peers:
        looking.answer(peer)
    uploading.arriving = uploading.waiting = 1
    for _ in range(30):
        for peer in peers:
            looking.traffic.account(peer).accepted += HEAVY
        assert looking.look(is_crowded=True) == 0


async def test_a_stream_that_has_been_open_for_long_does_not_wait(looking: Looking) -> None:
    following, new = await looking.connect(2)
    looking.look()
    looking.traffic.account(following).arrived += 1
    looking.look(passed_s=KNOWN_S)
    looking.look(is_crowded=True)
    assert looking.held == {new}


async def test_those_that_send_most_wait_and_one_that_sends_little_does_not(looking: Looking) -> None:
    light, *heavy = await looking.connect(PLACES + 3)
    looking.look()
    for peer in heavy:
        looking.answer(peer)
        looking.traffic.account(peer).accepted += HEAVY
    looking.answer(light)
    assert looking.look(is_crowded=True) == len(heavy) - PLACES
    assert light not in looking.held
    for _ in range(4):
        looking.look(passed_s=2 * LET_IN_S)
    assert looking.held == set()


async def test_calls_that_were_made_before_the_last_moment_count_little(looking: Looking) -> None:
    (peer,) = await looking.connect(1)
    looking.answer(peer)
    looking.traffic.account(peer).accepted += 100
    looking.look(passed_s=1.0)
    looking.traffic.account(peer).accepted += 100
    assert looking.look(passed_s=1.0, is_crowded=True) == 0


async def test_all_pass_when_the_server_stops(looking: Looking) -> None:
    await looking.connect(3)
    assert looking.look(is_crowded=True) == 3
    looking.intake.open()
    assert looking.look() == 0
    assert looking.held == set()


async def test_many_calls_are_a_crowd_if_they_are_of_several_connections() -> None:
    turns = Turns(asyncio.get_running_loop(), lambda *call: None, traffic=Traffic(), max_line=2 * CROWD)
    crowd = Crowd(lambda: [turns])
    for peer in range(CROWD_PEERS - 1):
        for _ in range(CROWD):
            turns.add(f"peer {peer}", "/test/Wait", None)
    assert not crowd.is_coming
    turns.add("another peer", "/test/Wait", None)
    assert crowd.is_coming
    assert crowd.look()
    assert not crowd.is_coming
    await turns.wait()
    assert not crowd.look()


async def test_calls_that_wait_for_a_place_for_their_requests_are_a_crowd_too() -> None:
    crowd = Crowd(list)
    waiting, arriving = Account(), Account()
    waiting.waiting = CROWD
    arriving.waiting = arriving.arriving = CROWD
    for _ in range(CROWD_PEERS):
        crowd.count(arriving)
    assert not crowd.is_coming
    for _ in range(CROWD_PEERS):
        crowd.count(waiting)
    assert crowd.is_coming
    assert crowd.look()
    assert not crowd.look()
