"""The settings of authentication: which credentials a server accepts, and how many calls a caller may make."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import ConfigurationError, check_ranges, documented, flag_of, setting


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSettings:
    """Settings of authentication: API keys, tokens, limits for callers, the logs of calls."""

    auth: str | None = setting(
        None, "TOML file that names the accepted credentials: keys, tokens, client certificates, anonymous calls."
    )
    api_keys: str | None = setting(
        None, "TOML file with the API keys that callers may use; `a2a-grpc keys new` writes it."
    )
    jwt_issuer: str | None = setting(
        None, "URL of the identity provider whose tokens (JWT) callers may use; it comes with `jwt_audience`."
    )
    jwt_audience: str | None = setting(None, "Audience that the tokens of `jwt_issuer` must name.")
    auth_failures_per_minute: int = setting(
        600,
        "Calls with wrong or missing credentials that one address may make in a minute. 0: no limit.",
        minimum=0,
    )
    calls_per_second: float = setting(0.0, "Calls that one caller may make in a second. 0: no limit.", minimum=0)
    calls_burst: int = setting(
        0, "Calls that one caller may make at once after a pause. 0: twice `calls_per_second`.", minimum=0
    )
    audit_log: str | None = setting(
        None, "File to which each call adds a JSON line: when, caller, method, task and outcome, without content."
    )
    access_log: bool = setting(
        False, "Write a line for each call to the log: method, code, duration, a hash of the caller, the task if known."
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("auth", "api_keys", "jwt_issuer", "jwt_audience", "audit_log"):
            if getattr(self, name) == "":
                raise ConfigurationError(f"{name} is empty")
        if bool(self.jwt_issuer) != bool(self.jwt_audience):
            missing = "jwt_audience" if self.jwt_issuer else "jwt_issuer"
            raise ConfigurationError(f"{flag_of(missing)} is missing; an issuer and its audience come together")
        if self.calls_burst and not self.calls_per_second:
            raise ConfigurationError(
                f"calls_burst is {self.calls_burst}, but calls_per_second is 0, which means no limit; give both"
            )
