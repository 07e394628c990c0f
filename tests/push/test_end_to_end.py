"""Our server and our receivers, with real signatures: the server publishes its keys, and the receiver reads them."""

from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from a2a_grpc import Notification, PushReceiver, Task
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.push.versions import is_at_least
from a2a_grpc.wire import TaskPushNotificationConfig
from tests.cli.terminal import at, objects, running
from tests.covers import covers
from tests.harness import eventually, scripted
from tests.ports import free_address
from tests.push.notified import notifying


@covers("RECV-1", "PUSH-2")
async def test_a_receiver_verifies_what_a_server_signs_with_the_key_that_it_made_for_itself(tmp_path: Path) -> None:
    got: list[Notification] = []

    async def keep(notification: Notification) -> None:
        got.append(notification)

    store = tmp_path / "tasks.db"
    async with notifying(store=f"sqlite:///{store}", http_listen="127.0.0.1:0") as served:
        assert Path(f"{store}.push-key").stat().st_mode & 0o777 == 0o600
        receiver = PushReceiver(keep, jwks_url=f"{served.server.http_url}/.well-known/jwks.json")
        receiver.expect(TaskPushNotificationConfig(token="t0ken"))
        runner = web.AppRunner(receiver.application("/hook"), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sent = scripted({"artifact": "hello"})
        sent.configuration.task_push_notification_config.CopyFrom(
            TaskPushNotificationConfig(url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook", token="t0ken")
        )
        task = (await served.send(sent)).task

        def the_end_is_there() -> None:
            states = [one.event.status.state for one in got if hasattr(one.event, "status")]
            assert COMPLETED in states

        await eventually(the_end_is_there)
        await runner.cleanup()
    assert {one.task_id for one in got} == {task.id}
    assert all(one.id.startswith(f"{task.id}:") for one in got)
    assert any(isinstance(one.event, Task) for one in got)


@covers("RECV-1", "PUSH-2")
async def test_a_receiver_goes_on_while_the_server_changes_its_key(tmp_path: Path) -> None:
    got: list[Notification] = []

    async def keep(notification: Notification) -> None:
        got.append(notification)

    keys, listen = [_pem(), _pem()], free_address()
    receiver = PushReceiver(keep, jwks_url=f"http://{listen}/.well-known/jwks.json")
    receiver.expect(TaskPushNotificationConfig(token="t0ken"))
    runner = web.AppRunner(receiver.application("/hook"), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = TaskPushNotificationConfig(url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook", token="t0ken")

    async def told_with(*of_file: str) -> None:
        """Have a server with these keys complete a task, and return when the receiver has accepted the end."""
        path = tmp_path / "push.pem"
        path.write_text("".join(of_file))
        path.chmod(0o600)
        async with notifying(
            store=f"sqlite:///{tmp_path}/tasks.db", http_listen=listen, push_signing_key=str(path)
        ) as served:
            sent = scripted({"artifact": "hello"})
            sent.configuration.task_push_notification_config.CopyFrom(config)
            task = (await served.send(sent)).task

            def the_end_is_there() -> None:
                of_task = [one.event for one in got if one.task_id == task.id]
                assert COMPLETED in [event.status.state for event in of_task if hasattr(event, "status")]

            await eventually(the_end_is_there)

    await told_with(keys[0])
    await told_with(keys[1], keys[0])
    await told_with(keys[1])
    await runner.cleanup()


def _pem() -> str:
    """Return a new ed25519 key in PEM."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_push_listen_prints_the_end_of_a_task_of_our_server_and_leaves_no_config() -> None:
    async with notifying() as served:
        task = await served.start({"input": "go?"})
        async with running("push", "listen", at(served), "--task", task.id, "-o", "json") as command:
            await command.err.until("listening at")
            answer = scripted({"artifact": "hello"})
            answer.message.task_id = task.id
            await served.send(answer)
            await command.out.until("TASK_STATE_COMPLETED")
            command.interrupt()
            done = await command.finished()
        assert done.code == 0
        assert "deleted push config" in done.err
        assert {
            element[name].get("id", element[name].get("taskId")) for element in objects(done.out) for name in element
        } == {task.id}


def test_versions_are_compared_by_their_numbers() -> None:
    assert is_at_least("3.13.4", "3.13.4")
    assert is_at_least("3.14.0rc1", "3.13.4")
    assert is_at_least("4.0", "3.13.4")
    assert not is_at_least("3.9.5", "3.13.4")
    assert not is_at_least("3.13.3", "3.13.4")
