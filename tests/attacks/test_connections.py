"""The kernel's part in a defence against floods: bytes of a new connection wait, and a connection ends at once."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from a2a_grpc.listening.connections import Connection, Connections, can_look
from tests.harness import eventually

pytestmark = pytest.mark.skipif(not can_look(), reason="needs Linux: TCP_INFO and socket filters")


class Listening:
    """A listening socket of this process, with clients and the sockets that it accepted."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.accepted: list[socket.socket] = []
        self.connections = Connections(lambda: [self.port])

    async def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return both ends of a new connection."""
        client = socket.create_connection(("127.0.0.1", self.port))
        client.setblocking(False)
        self.clients.append(client)
        accepted, _ = await asyncio.get_running_loop().sock_accept(self.socket)
        accepted.setblocking(False)
        self.accepted.append(accepted)
        return client, accepted

    def look(self, *, hold_new: bool = False) -> list[Connection]:
        return list(self.connections.look(hold_new=hold_new))

    def close(self) -> None:
        for each in [self.socket, *self.clients, *self.accepted]:
            each.close()


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    opened = Listening()
    yield opened
    opened.close()


def received(accepted: socket.socket) -> bytes:
    try:
        return accepted.recv(100)
    except BlockingIOError:
        return b""


async def test_bytes_are_counted_and_peers_named_as_grpc_does(listening: Listening) -> None:
    client, accepted = await listening.connect()
    client.send(b"12345")
    accepted.send(b"123")

    def counted() -> None:
        (found,) = listening.look()
        assert found.peer == f"ipv4:127.0.0.1:{client.getsockname()[1]}"
        assert (found.received, found.sent, found.is_held) == (5, 3, False)

    await eventually(counted)


async def test_bytes_of_a_new_connection_wait_until_it_is_let_in(listening: Listening) -> None:
    _, old = await listening.connect()
    assert len(listening.look(hold_new=True)) == 1
    client, accepted = await listening.connect()
    client.send(b"hello")
    listening.clients[0].send(b"old")
    await eventually(lambda: _equal(received(old), b"old"))
    await asyncio.sleep(0.1)
    assert received(accepted) == b""
    for found in listening.connections.look(hold_new=True):
        if found.is_held:
            found.let_in()
    await eventually(lambda: _equal(received(accepted), b"hello"))


async def test_bytes_of_a_connection_that_is_held_again_wait_and_are_not_lost(listening: Listening) -> None:
    client, accepted = await listening.connect()
    client.send(b"first")
    await eventually(lambda: _equal(received(accepted), b"first"))
    for found in listening.connections.look(hold_new=True):
        found.hold()
    client.send(b"second")
    (found,) = listening.look(hold_new=True)
    assert (found.is_held, found.received, received(accepted)) == (True, len(b"first"), b"")
    for found in listening.connections.look(hold_new=True):
        found.let_in()
    await eventually(lambda: _equal(received(accepted), b"second"))


async def test_new_connections_do_not_wait_any_more_once_they_need_not(listening: Listening) -> None:
    listening.look(hold_new=True)
    listening.look(hold_new=False)
    client, accepted = await listening.connect()
    client.send(b"hello")
    await eventually(lambda: _equal(received(accepted), b"hello"))


async def test_an_ended_connection_is_reset_and_what_was_not_read_is_gone(listening: Listening) -> None:
    client, accepted = await listening.connect()
    client.send(b"x" * 50)
    for found in listening.connections.look(hold_new=False):
        found.end()
    with pytest.raises(ConnectionResetError):
        accepted.recv(100)
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert listening.look() == []


async def test_sockets_of_other_ports_are_left_alone(listening: Listening) -> None:
    other = Listening()
    try:
        await other.connect()
        assert listening.look(hold_new=True) == []
        client, accepted = await other.connect()
        client.send(b"hello")
        await eventually(lambda: _equal(received(accepted), b"hello"))
    finally:
        other.close()


def _equal(found: bytes, expected: bytes) -> None:
    assert found == expected


async def test_a_connection_that_is_accepted_after_the_listener_lost_its_filter_is_known_as_held(
    listening: Listening,
) -> None:
    listening.look(hold_new=True)
    client = socket.create_connection(("127.0.0.1", listening.port))
    listening.clients.append(client)
    listening.look()
    listening.look()
    accepted, _ = await asyncio.get_running_loop().sock_accept(listening.socket)
    listening.accepted.append(accepted)
    for found in listening.connections.look(hold_new=False):
        assert found.is_held
        found.let_in()
    assert [each.is_held for each in listening.look()] == [False]
