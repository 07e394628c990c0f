"""Settings: default, then environment, then caller."""

from dataclasses import dataclass, fields
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_grpc.client import ClientSettings, channel
from a2a_grpc.client.target import grpc_address
from a2a_grpc.config import GRPC_MOST, PREFIX, ConfigurationError, check_ranges, load, plain_type, setting
from a2a_grpc.rpc import TransportSettings, server_options

steady = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
"""The same examples each time, however slow the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One field of each kind."""

    count: int = setting(3, "A number.", minimum=1)
    seconds: float = setting(1.5, "A time.", minimum=0)
    name: str = setting("here", "A text.")
    is_on: bool = setting(False, "A switch.")
    path: str | None = setting(None, "A text, or nothing.")
    bound: int | None = setting(None, "A number, or nothing.", minimum=2)

    def __post_init__(self) -> None:
        check_ranges(self)


def test_without_anything_given_every_field_has_its_default() -> None:
    assert load(Example, {}, {}) == Example()
    assert load(Example, None, {}) == Example()


@steady
@given(st.integers(1, 10**12), st.floats(0, 1e12), st.text(st.characters(exclude_characters="\0")), st.booleans())
def test_every_value_can_be_given_in_the_environment(count: int, seconds: float, name: str, is_on: bool) -> None:
    environment = {
        "A2A_GRPC_COUNT": str(count),
        "A2A_GRPC_SECONDS": repr(seconds),
        "A2A_GRPC_NAME": name,
        "A2A_GRPC_IS_ON": str(is_on),
        "A2A_GRPC_PATH": name,
        "A2A_GRPC_BOUND": str(count + 1),
    }
    assert load(Example, {}, environment) == Example(
        count=count, seconds=seconds, name=name, is_on=is_on, path=name, bound=count + 1
    )


@steady
@given(
    st.dictionaries(st.sampled_from(["count", "bound"]), st.none() | st.integers(2, 99)),
    st.dictionaries(st.sampled_from(["count", "bound"]), st.integers(2, 99)),
)
def test_the_caller_counts_before_the_environment_and_that_before_the_default(
    given_values: dict[str, int | None], environment: dict[str, int]
) -> None:
    loaded = load(Example, given_values, {PREFIX + name.upper(): str(number) for name, number in environment.items()})
    for name, default in (("count", 3), ("bound", None)):
        overridden = given_values.get(name)
        expected = overridden if overridden is not None else environment.get(name, default)
        assert getattr(loaded, name) == expected


@pytest.mark.parametrize(
    ("text", "meant"),
    [(text, text.lower() in ("1", "true", "yes", "on"))
     for text in ("1", "true", "True", "TRUE", "yes", "on", "0", "false", "False", "no", "NO", "off")],
)  # fmt: skip
def test_a_switch_is_said_in_many_words(text: str, meant: bool) -> None:
    assert load(Example, {}, {"A2A_GRPC_IS_ON": text}).is_on is meant


def test_false_and_zero_of_the_caller_are_values_and_none_is_not() -> None:
    environment = {"A2A_GRPC_IS_ON": "true", "A2A_GRPC_SECONDS": "9", "A2A_GRPC_NAME": "there"}
    assert load(Example, {"is_on": False, "seconds": 0.0, "name": ""}, environment) == Example(
        is_on=False, seconds=0.0, name=""
    )
    assert load(Example, {"is_on": None, "seconds": None}, environment) == Example(
        is_on=True, seconds=9.0, name="there"
    )


def test_what_belongs_to_other_settings_does_not_count() -> None:
    assert load(Example, {"other": 1}, {"A2A_GRPC_OTHER": "x", "COUNT": "7", "a2a_grpc_count": "7"}) == Example()


def test_the_environment_is_the_process_own_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_GRPC_COUNT", "8")
    assert load(Example).count == 8
    assert load(Example, {}, {}).count == 3


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("A2A_GRPC_COUNT", "many", "A2A_GRPC_COUNT is 'many'; it must be a whole number, for example 3"),
        ("A2A_GRPC_COUNT", "", "A2A_GRPC_COUNT is ''; it must be a whole number, for example 3"),
        ("A2A_GRPC_COUNT", "1.5", "A2A_GRPC_COUNT is '1.5'; it must be a whole number, for example 3"),
        ("A2A_GRPC_BOUND", "none", "A2A_GRPC_BOUND is 'none'; it must be a whole number, for example 10"),
        ("A2A_GRPC_SECONDS", "soon", "A2A_GRPC_SECONDS is 'soon'; it must be a number, for example 1.5"),
        ("A2A_GRPC_IS_ON", "maybe", "A2A_GRPC_IS_ON is 'maybe'; it must be true or false"),
        ("A2A_GRPC_IS_ON", "", "A2A_GRPC_IS_ON is ''; it must be true or false"),
        ("A2A_GRPC_COUNT", "0", "count is 0; it must be at least 1"),
        ("A2A_GRPC_BOUND", "1", "bound is 1; it must be at least 2"),
        ("A2A_GRPC_SECONDS", "-0.5", "seconds is -0.5; it must be at least 0"),
    ],
)
def test_nonsense_is_refused_with_its_name_and_value(variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(Example, {}, {variable: text})
    assert str(refused.value) == said


def test_not_a_number_is_below_every_minimum() -> None:
    with pytest.raises(ConfigurationError, match="seconds is nan"):
        load(Example, {}, {"A2A_GRPC_SECONDS": "nan"})


@steady
@given(st.integers(max_value=0))
def test_a_value_of_the_caller_is_held_to_the_range_too(count: int) -> None:
    with pytest.raises(ConfigurationError, match=f"^count is {count}; it must be at least 1$"):
        load(Example, {"count": count}, {})


def test_the_minimum_itself_is_allowed() -> None:
    assert load(Example, {"count": 1, "seconds": 0.0, "bound": 2}, {}) == Example(count=1, seconds=0.0, bound=2)


def test_the_type_of_a_field_that_may_be_none_is_the_other_one() -> None:
    assert [plain_type(hint) for hint in (int, int | None, None | str)] == [int, int, str]


def test_a_time_that_no_clock_can_count_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^seconds is 1e\+300; it must be at most 1000000000000$"):
        Example(seconds=1e300)


def test_arguments_of_grpc_are_never_larger_than_grpc_takes() -> None:
    """gRPC raises OverflowError for some larger numbers, and takes others for small ones."""
    transport = TransportSettings(**largest(TransportSettings))
    assert max(value for _, value in server_options(transport, is_guarded=True)) == GRPC_MOST
    client = ClientSettings(**largest(ClientSettings))
    made = channel._options(grpc_address("127.0.0.1:1"), client, tls=False)
    assert max(value for _, value in made if isinstance(value, int)) == GRPC_MOST


def largest(kind: type[TransportSettings] | type[ClientSettings]) -> dict[str, Any]:
    """The largest value of each number."""
    hints = {item.name: plain_type(get_type_hints(kind)[item.name]) for item in fields(kind)}
    values: dict[type, Any] = {int: 10**20, float: 1e12}
    return {name: values[hint] for name, hint in hints.items() if hint in values}
