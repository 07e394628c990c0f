"""The settings of push notifications."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting

EVENTS = ("status", "all")


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class PushSettings:
    """Settings of push notifications: whether they are offered, what is sent, how secrets are encrypted."""

    push: bool | None = setting(
        None, "Offer push notifications; by default `serve` does if it can, and a `Server` does not."
    )
    push_events: str = setting(
        "status", "What is sent: 'status' for the task and changes of its status, 'all' for pieces of artifacts, too."
    )
    secrets_key_file: str | None = setting(
        None,
        "File with the keys that encrypt the secrets of push configs: one key of 32 bytes a line, in Base64. The first "
        "one encrypts, all decrypt. By default FILE.secrets-key for an SQLite file, which is made.",
    )
    max_push_configs: int = setting(10, "Push configs that a task may have.", minimum=1)

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.push_events not in EVENTS:
            raise ConfigurationError(f"push_events is '{self.push_events}'; it must be one of {', '.join(EVENTS)}")
        if self.secrets_key_file == "":
            raise ConfigurationError("secrets_key_file is empty")
