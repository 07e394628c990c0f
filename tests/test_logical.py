"""Logical addresses of agents."""

import pytest

from a2a_grpc.client.card_source import read_card_file
from a2a_grpc.client.errors import AgentCardError
from a2a_grpc.client.target import CardFile, parse
from a2a_grpc.config import ConfigurationError
from a2a_grpc.logical import is_logical, logical


@pytest.mark.parametrize(
    "address",
    ["a@b", "1@1", "cancellable@fame.fabric", "a.b_c-d@e-f.g", "a@b/c", "a@b/c.d/e", "a--b@c--d.e", f"a@{'b' * 63}"],
)
def test_addresses(address: str) -> None:
    assert is_logical(address)


@pytest.mark.parametrize("address", [f"{'a' * 128}@b/c", f"a@{'b' * 64}", f"a@b/{'c' * 64}"])
def test_a_target_that_may_be_meant_as_an_address_is_refused_with_the_form_of_addresses(address: str) -> None:
    with pytest.raises((ConfigurationError, AgentCardError), match="has at most 63 characters"):  # noqa: PT012
        if isinstance(parse(address), CardFile):
            read_card_file(address)
    with pytest.raises(ConfigurationError, match="has at most 63 characters"):
        logical("address", address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@b",
        "a@",
        "a@@b",
        "A@b",
        "a@B",
        "\u00e4@b",
        "\u0430@b",
        "a@b ",
        "a@b\n",
        " a@b",
        "a@b/",
        "a@b//c",
        "a@b/../c",
        "-a@b",
        "a-@b",
        "a.@b",
        ".a@b",
        "a..b@c",
        "a@b..c",
        "a@-b",
        "a@b-",
        "a@b.",
        "a@b_c",
        "a@b/.",
        "a@b/c..d",
        "xn--80ak6aa92e@b",
        "a@xn--80ak6aa92e.example",
        "a@b/xn--c",
        f"a@{'b' * 64}",
        f"a@{'b.' * 127}b",
        "a%40b",
        "a@b:80",
    ],
)
def test_texts_that_are_no_address_or_may_look_like_another_one(address: str) -> None:
    assert not is_logical(address)
    with pytest.raises(ConfigurationError, match="begins and ends with a letter or digit"):
        logical("address", address)
