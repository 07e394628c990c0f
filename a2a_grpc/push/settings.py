"""The settings of webhooks."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting
from a2a_grpc.push.allowed import Rule, parse


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Settings of webhooks: which urls are allowed, how long a receiver may take, how many are called at a time."""

    push_allow: str = setting(
        "",
        "HOST, HOST:PORT, CIDR or CIDR:PORT to which notifications may go in addition to public hosts at port 443, "
        "also with http://. Several are separated by commas.",
        repeated=True,
    )
    push_timeout_s: float = setting(
        15.0, "Seconds for one attempt to send a notification, from the lookup of the host to the answer.", minimum=0.1
    )
    push_posts_per_host: int = setting(
        8, "Notifications that are sent to one host at the same time; others wait.", minimum=1
    )
    push_posts_per_tenant: int = setting(
        2000, "Notifications that are sent for one tenant at the same time; others wait.", minimum=1
    )
    push_signing_key: str | None = setting(
        None,
        "PEM file with the key (ed25519) that signs notifications, which is made if it does not exist. Replicas share "
        "it. Default: `FILE.push-key` next to the SQLite file. The HTTP port publishes its public part at "
        "/.well-known/jwks.json.",
    )
    push_ca_cert: str | None = setting(
        None, "PEM file with the CAs of receivers, in addition to those that the system trusts."
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("push_signing_key", "push_ca_cert"):
            if getattr(self, name) == "":
                raise ConfigurationError(f"{name} is empty")
        _ = self.rules

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of `push_allow`."""
        return parse(self.push_allow)
