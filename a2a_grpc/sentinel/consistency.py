"""Check that the settings, authenticators and rules of a sentinel fit each other."""

from collections.abc import Mapping, Sequence

from a2a_grpc.auth import Authenticator, AuthSettings
from a2a_grpc.auth.callers import AUTHORIZATION, Callers
from a2a_grpc.auth.keys import HEADER
from a2a_grpc.config import ConfigurationError, check_belonging, flag_of
from a2a_grpc.sentinel.hop import HoppedCallers, Hops
from a2a_grpc.sentinel.rules import Rules
from a2a_grpc.sentinel.settings import SentinelSettings
from a2a_grpc.wire import SecurityScheme


def check_consistency(settings: SentinelSettings, auth: Sequence[Authenticator], rules: Rules | None) -> None:
    """Raise ConfigurationError if the arguments of a sentinel do not fit each other.

    Args:
        settings: The settings.
        auth: The authenticators.
        rules: The rules; None if there are none.
    """
    check_belonging(settings, "route", ("route_plaintext", "route_ca_cert"))
    if not settings.has_peers:
        for name in ("peer_address", "peer_plaintext", "peer_ca_cert", "peer_cert", "peer_key"):
            if getattr(settings, name):
                raise ConfigurationError(
                    f"store is '{settings.store}', which no other sentinel shares; {flag_of(name)} has no effect"
                )
    if not auth and (rules is not None or settings.signing_key):
        given = "signing_key" if rules is None else "rules"
        raise ConfigurationError(f"{given}: the sentinel has no authenticators, so that it knows no callers")
    if auth and settings.route and not settings.pass_credentials:
        raise ConfigurationError(
            f"route is '{settings.route}': an agent believes the sentinel on its own tunnel only, so that all callers "
            "would be the same one to it; attach the agent, or set pass_credentials"
        )


def callers_of(settings: SentinelSettings, auth: Sequence[Authenticator], limits: AuthSettings, hops: Hops) -> Callers:
    """Return the object that identifies the callers of a sentinel.

    Args:
        settings: The settings of the sentinel.
        auth: The authenticators.
        limits: The limits of callers.
        hops: The marks of calls that other sentinels pass on. The other sentinel has identified their
            callers, who have no credentials here.
    """
    hopped = (HoppedCallers(hops),) if auth and settings.has_peers else ()
    return Callers(
        (*hopped, *auth),
        failures_per_minute=limits.auth_failures_per_minute,
        calls_per_second=limits.calls_per_second,
        calls_burst=limits.calls_burst,
    )


def names_of(schemes: Mapping[str, SecurityScheme]) -> set[str]:
    """Return the names of the metadata that carry credentials.

    Args:
        schemes: The schemes of the credentials that the sentinel accepts.
    """
    keys = (scheme.api_key_security_scheme for scheme in schemes.values())
    return {AUTHORIZATION, HEADER, *(key.name.lower() for key in keys if key.location == "header")}
