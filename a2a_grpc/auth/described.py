"""What an agent card says of credentials, derived from the authenticators of its server."""

from collections.abc import Iterable, Mapping, Sequence

from a2a_grpc.auth.callers import anonymous
from a2a_grpc.auth.protocol import Authenticator, Described
from a2a_grpc.config import ConfigurationError
from a2a_grpc.wire import AgentCard, SecurityRequirement, SecurityScheme, StringList


def secure(
    card: AgentCard, authenticators: Sequence[Authenticator], scopes: Mapping[str, Iterable[str]] | None = None
) -> AgentCard:
    """Return a card that says which credentials its server accepts.

    The card gets the security scheme of each authenticator that describes itself, and a requirement for each scheme.
    A caller has to meet one of the requirements (spec §4.5). If anonymous calls are accepted, one requirement is
    empty. A skill that needs scopes has requirements of its own, one for each scheme, which name these scopes.

    Schemes and requirements that the card has already stay. They are for authenticators that do not describe
    themselves.

    Args:
        card: The card as the agent declares it. It stays as it is.
        authenticators: The authenticators of the server.
        scopes: The scopes that skills need, by the id of the skill.

    Raises:
        ConfigurationError: The card declares a scheme by a name that the server gives to one of its own.
    """
    schemes = schemes_of(authenticators)
    for name in schemes:
        if name in card.security_schemes:
            raise ConfigurationError(
                f"the card declares the security scheme '{name}', which the server adds itself; remove it from the card"
            )
    secured = AgentCard()
    secured.CopyFrom(card)
    for name, scheme in schemes.items():
        secured.security_schemes[name].CopyFrom(scheme)
        secured.security_requirements.append(_requirement(name))
    if schemes and anonymous in authenticators:
        secured.security_requirements.append(SecurityRequirement())
    for skill in secured.skills:
        if needed := sorted((scopes or {}).get(skill.id, ())):
            skill.security_requirements.extend(_requirement(name, needed) for name in schemes)
    return secured


def schemes_of(authenticators: Iterable[Authenticator]) -> dict[str, SecurityScheme]:
    """Return the security schemes of authenticators by name. Different schemes with one name get numbers.

    Args:
        authenticators: The authenticators. Those that do not describe themselves are left out.
    """
    schemes: dict[str, SecurityScheme] = {}
    for authenticator in authenticators:
        if not isinstance(authenticator, Described):
            continue
        for name, scheme in authenticator.schemes().items():
            if scheme in schemes.values():
                continue
            number, free = 1, name
            while free in schemes:
                number += 1
                free = f"{name}_{number}"
            schemes[free] = scheme
    return schemes


def _requirement(name: str, scopes: Iterable[str] = ()) -> SecurityRequirement:
    return SecurityRequirement(schemes={name: StringList(list=scopes)})
