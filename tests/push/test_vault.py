"""The encryption of the secrets of push configs."""

from pathlib import Path

import pytest

from a2a_grpc.config import ConfigurationError
from a2a_grpc.push.vault import LockedError, Vault, new_key
from a2a_grpc.store import TaskKey
from a2a_grpc.wire import AuthenticationInfo, TaskPushNotificationConfig
from tests.covers import covers

KEY = TaskKey("tenant", "owner", "t-1")
CONFIG = TaskPushNotificationConfig(
    task_id="t-1",
    id="c-1",
    url="https://hook.example/a",
    token="t0ken",
    authentication=AuthenticationInfo(scheme="Bearer", credentials="s3cret"),
)


@covers("PUSH-10", "PSEC-1")
def test_what_is_sealed_is_opened_again_and_shows_no_secret() -> None:
    vault = Vault.ephemeral()
    public, secrets = vault.seal(KEY, CONFIG)
    assert vault.open(KEY, public, secrets) == CONFIG
    for stored in (public, secrets):
        assert b"t0ken" not in stored
        assert b"s3cret" not in stored
    assert vault.seal(KEY, CONFIG)[1] != secrets, "nothing shows that two secrets are the same"


@covers("PUSH-10")
def test_secrets_cannot_be_moved_to_another_config_or_url() -> None:
    vault = Vault.ephemeral()
    public, secrets = vault.seal(KEY, CONFIG)
    other = TaskPushNotificationConfig.FromString(public)
    other.url = "https://other.example/a"
    for key, config in ((KEY, other.SerializeToString()), (KEY._replace(owner="another"), public)):
        with pytest.raises(LockedError):
            vault.open(key, config, secrets)
    with pytest.raises(LockedError):
        Vault.ephemeral().open(KEY, public, secrets)


@covers("PUSH-10")
def test_a_key_is_replaced_by_one_before_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = Vault.from_file(path, make=True)
    assert path.stat().st_mode & 0o777 == 0o600
    public, secrets = first.seal(KEY, CONFIG)
    assert Vault.from_file(path, make=True).open(KEY, public, secrets) == CONFIG, "it is made once"
    path.write_text(f"# new\n{new_key()}\n\n{path.read_text()}")
    second = Vault.from_file(path, make=False)
    assert second.open(KEY, public, secrets) == CONFIG
    with pytest.raises(LockedError):
        first.open(KEY, *second.seal(KEY, CONFIG))


@pytest.mark.parametrize(("text", "said"), [("", "no key"), ("abc\n", "line 1"), ("A" * 40 + "\n", "line 1")])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "keys"
    with pytest.raises(ConfigurationError, match="secrets_key_file"):
        Vault.from_file(path, make=False)
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        Vault.from_file(path, make=False)


@covers("PSEC-1")
def test_a_file_of_keys_that_others_can_read_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    Vault.from_file(file, make=True)
    assert not caplog.records
    file.chmod(0o640)
    Vault.from_file(file, make=False)
    Vault.from_file(file, make=False)
    assert [record.getMessage() for record in caplog.records] == [
        f"other users can use a file of keys file={file} mode=0640 do='chmod 600 {file}'"
    ]
