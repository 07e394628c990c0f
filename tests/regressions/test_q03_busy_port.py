"""Q3: one port, one server."""

import pytest

from a2a_grpc import Server, ServerSettings
from a2a_grpc.server import ListenError
from a2a_grpc.wire import ListTasksRequest
from tests.covers import covers
from tests.harness import V1, Served, run_program, scripted_agent, serving
from tests.ports import free_address

pytestmark = covers("Q3", "S0-41")


async def test_a_second_server_on_a_port_fails_with_a_message_that_names_the_address(served: Served) -> None:
    address = served.server.grpc_address
    with pytest.raises(ListenError) as refused:
        await Server(scripted_agent(), ServerSettings(listen=address, http_listen="off")).start()
    assert str(refused.value) == (
        f"cannot listen on {address} for gRPC: address already in use; "
        "stop the program that listens there, or choose another port with listen (--listen)"
    )
    assert (await served.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


async def test_a_second_server_on_an_http_port_fails_with_a_message_that_names_the_address() -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as first:
        assert first.server.http_url
        address = first.server.http_url.removeprefix("http://")
        free = free_address()
        second = Server(scripted_agent(), ServerSettings(listen=free, http_listen=address))
        with pytest.raises(ListenError, match=rf"^cannot listen on {address} for HTTP: ") as refused:
            await second.start()
        assert "in use" in str(refused.value)
        # what it had bound already is free again
        async with serving(scripted_agent(), listen=free) as third:
            assert third.server.grpc_address == free


async def test_a_server_that_ended_gives_its_port_back() -> None:
    address = free_address()
    async with serving(scripted_agent(), listen=address):
        pass
    async with serving(scripted_agent(), listen=address) as second:
        assert (await second.stub.ListTasks(ListTasksRequest(), metadata=V1)).total_size == 0


@pytest.mark.parametrize("protocol", ["gRPC", "HTTP"])
async def test_a_program_on_a_taken_port_says_so_in_one_line_and_exits_with_2(protocol: str) -> None:
    async with serving(scripted_agent(), http_listen="127.0.0.1:0") as first:
        assert first.server.http_url
        taken = first.server.grpc_address if protocol == "gRPC" else first.server.http_url.removeprefix("http://")
        addresses = (taken, "off") if protocol == "gRPC" else ("127.0.0.1:0", taken)
        code, out, error = await run_program(
            "servers/scripted.py", "-o", "json", "--listen", addresses[0], "--http-listen", addresses[1]
        )
    assert (code, out) == (2, "")
    [line] = error.splitlines()
    assert line.startswith(f"Error: cannot listen on {taken} for {protocol}: ")
