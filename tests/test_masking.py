"""No secret of a URL is left in what `mask_url` gives back, and what is no secret stays readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_grpc.masking import mask_url

CANARY = "c4n4ry"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://alice:c4n4ry@db/tasks", "postgresql://alice:***@db/tasks"),
        ("postgresql://alice:c4/n4?r@y#c4n4ry@db/tasks", "postgresql://alice:***@db/tasks"),
        ("postgresql://alice:c4n4ry with c4n4ry@db/tasks", "postgresql://alice:***@db/tasks"),
        ("postgresql://:c4n4ry@db/tasks", "postgresql://:***@db/tasks"),
        ("postgresql:/alice:c4n4ry@db/tasks", "postgresql:/alice:***@db/tasks"),
        ("postgres:alice:c4n4ry@db", "postgres:alice:***@db"),
        ("alice:c4n4ry@db:5432", "alice:***@db:5432"),
        ("https://c4n4ry@example.com/card", "https://***@example.com/card"),
        ("postgresql://alice@db/tasks", "postgresql://alice@db/tasks"),
        ("postgresql://db/t?user=alice&password=c4n4ry&ssl=require", "postgresql://db/t?user=alice&password=***&ssl=require"),
        ("postgresql://db/t?target_session_attrs=primary", "postgresql://db/t?target_session_attrs=primary"),
        ("postgresql://db/t?sslpassword=c4n4ry", "postgresql://db/t?sslpassword=***"),
        ("https://h/card?pass%77ord=c4n4ry", "https://h/card?pass%77ord=***"),
        ("https://h/c.json?sv=1&sig=c4n4ry&se=2", "https://h/c.json?sv=1&sig=***&se=2"),
        ("https://h/c?X-Amz-Signature=c4n4ry&X-Amz-Date=1", "https://h/c?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/c?apiKey=c4n4ry#access_token=c4n4ry", "https://h/c?apiKey=***"),
        ("https://h/c#access_token=c4n4ry", "https://h/c#access_token=***"),
        ("https://h/c?next=https%3A%2F%2Fu%3Ac4n4ry%40h", "https://h/c?next=***"),
        ("https://h/c?code=c4n4ry&country=FR", "https://h/c?code=***&country=FR"),
        ("host=db password=c4n4ry dbname=t", "host=db password=*** dbname=t"),
        ("--tokne x --token=c4n4ry", "--tokne x --token=***"),
        ("bus is 'postgresql://a:c4n4ry@db/t?password=it'sc4n4ry'; it must be local:",
         "bus is 'postgresql://a:***@db/t?password=***'; it must be local:"),
        ("cannot read https://h/c?token=c4n4ry, https://u:c4n4ry@h/d. Try again.",
         "cannot read https://h/c?token=***, https://u:***@h/d. Try again."),
        ("sqlite:////var/lib/a2a/tasks.db?synchronous=full", "sqlite:////var/lib/a2a/tasks.db?synchronous=full"),
        ("ipv4:127.0.0.1:50051: connection refused", "ipv4:127.0.0.1:50051: connection refused"),
        ("http://[::1]:8080/card?page=2", "http://[::1]:8080/card?page=2"),
        ("Access denied for user 'me'@'127.0.0.1' (using password: YES)",
         "Access denied for user 'me'@'127.0.0.1' (using password: YES)"),
        ("see https://u:/c4n4ry@h and postgresql://u://c4n4ry@h", "see https://u:***@h and postgresql://u:***@h"),
        ("http://h:8500/agents/a@acme/x?token=c4n4ry", "http://h:8500/agents/a@acme/x?token=***"),
        ("http://h/agents/a@acme and postgresql://u:c4n4ry@h", "http://h/agents/a@acme and postgresql://u:***@h"),
        ("see http://h:1/agents/a@acme: it's off", "see http://h:1/agents/a@acme: it's off"),
        ("local:", "local:"),
    ],
)  # fmt: skip
def test_secrets_of_urls_are_masked_and_the_rest_stays(text: str, masked: str) -> None:
    assert mask_url(text) == masked
    assert CANARY not in masked


NAMES = ("token", "access_token", "X-Api-Key", "password", "sslpassword", "client_secret", "sig", "code", "auth")


@given(
    password=st.text(st.characters(exclude_categories=["Cs", "Zs", "Cc"]), max_size=20),
    name=st.sampled_from(NAMES),
    before=st.sampled_from(["", "store is '", "cannot reach ", "(see "]),
    after=st.sampled_from(["", "'; choose another", ", or later", ")", "."]),
)
def test_a_secret_is_masked_whatever_characters_surround_it(password: str, name: str, before: str, after: str) -> None:
    spoiled = f"{password}{CANARY}{password}"
    shown = mask_url(f"{before}postgresql://alice:{spoiled}@db/tasks{after}")
    assert CANARY not in shown
    if "&" not in password:
        shown = mask_url(f"{before}https://host/card?page=2&{name}={spoiled}&more=1{after}")
        assert CANARY not in shown


@given(st.text(max_size=200))
def test_any_text_can_be_masked_and_masking_twice_changes_nothing_more(text: str) -> None:
    once = mask_url(text)
    assert mask_url(once) == once


@pytest.mark.parametrize(
    "piece", ["a", "a:", ":", "-", "a=", "%25", "a=%3D", "'", "=.", "@", "a@", "a:@", "://", "a:///", "/a:", "&a=", "é"]
)
def test_a_long_text_takes_no_longer_for_each_of_its_characters(piece: str) -> None:
    mask_url(piece * 50_000)  # minutes, if a pattern went back over the text
    mask_url("https://host/?a=" + piece * 50_000)
    mask_url("see u@" + piece * 50_000 + " " + piece * 50_000 + "@h")
