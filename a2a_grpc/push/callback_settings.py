"""The settings of callbacks."""

from dataclasses import dataclass

from a2a_grpc.address import split_address
from a2a_grpc.arguments import checked
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import ConfigurationError, check_ranges, documented, setting
from a2a_grpc.regular import MAX_TOKEN_BYTES, read_regular


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """Settings of callbacks to other agents: the sentinel, certificates, tokens."""

    callback_sentinel: str = setting(
        "",
        "HOST:PORT of the sentinel at which agents with addresses such as name@domain are called back; by default that "
        "of --attach.",
    )
    callback_plaintext: bool = setting(False, "Call this sentinel on another machine without TLS.")
    callback_ca_cert: str | None = setting(
        None, "PEM file with the root certificates of the called agents; by default the system's roots."
    )
    callback_cert: str | None = setting(None, "PEM file with the certificate chain that callbacks show.")
    callback_key: str | None = setting(None, "PEM file with the private key of this certificate.")
    callback_tokens: str = setting(
        "",
        "TARGET=FILE: the file with the token that callbacks show to this target, as 'authorization: Bearer TOKEN'. "
        "TARGET is HOST:PORT or name@domain; several with commas.",
        repeated=True,
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        if bool(self.callback_cert) != bool(self.callback_key):
            missing = "callback_key" if self.callback_cert else "callback_cert"
            raise ConfigurationError(f"{missing} is missing; a certificate and its key come together")
        if self.callback_sentinel:
            _check_sentinel(self.callback_sentinel)
        for target in self._files:
            self.token_for(target)

    @property
    def _files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in self.callback_tokens.split(","))):
            target, separator, path = pair.partition("=")
            if not separator or not target or not path:
                raise ConfigurationError(f"callback_tokens has '{pair[:64]}'; it must be TARGET=FILE")
            found[target.lower()] = path
        return found

    def token_for(self, url: str) -> str:
        """Return the token for a url; "" if there is none. The file is read each time, since tokens are replaced.

        Args:
            url: The url of a config, or HOST:PORT.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        files = self._files
        target = url.lower().partition("://")[2] or url.lower()
        path = files.get(target.partition("/")[0] if "@" not in target else target)
        if path is None:
            return ""
        try:
            return read_regular(path, MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it holds no token"
            raise ConfigurationError(f"callback_tokens: '{path}' cannot be read: {why}") from None


def _check_sentinel(address: str) -> None:
    if "://" not in address and not address.startswith("unix:"):
        split_address("callback_sentinel", address)
    try:
        grpc_address(address)
    except ConfigurationError as error:
        raise ConfigurationError(f"callback_sentinel: {error}") from None
