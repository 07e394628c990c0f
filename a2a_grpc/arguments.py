"""Refuse wrong arguments of public functions before anything is done with them.

The annotations of a function are its rules. A keyword that no parameter has is refused, with the nearest name of a
parameter. A value of another type is refused, with the name, the value and the expected type.
"""

import inspect
import reprlib
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property, wraps
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Unpack

from a2a_grpc.config import hint_at
from a2a_grpc.text import HALF_A_PAIR, is_encodable

T = TypeVar("T", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

SECRET = frozenset(["client_secret", "credentials", "headers"])
"""Parameters whose values no error message has."""

CHECKED_LATER = frozenset(["agent"])
"""Parameters that their functions check, with more advice than can be given here."""


class Rule(NamedTuple):
    """What a value must be."""

    expected: str
    fits: Callable[[Any], bool]
    item: "Rule | None" = None
    """What each item of a list must be."""


TEXT = Rule("a str", lambda value: isinstance(value, str) and is_encodable(value))
NAME = Rule("a str", lambda value: isinstance(value, str))
"""A text that is not sent: the name of a file may have bytes that are no characters."""


def checked(settings: type | None = None) -> Callable[[T], T]:
    """Have the constructor and all public methods of a class check their arguments.

    If a misspelt keyword is near to a field of `settings`, the error says that this is a setting of `connect`.
    """

    def decorate(kind: T) -> T:
        for name, member in list(vars(kind).items()):
            if inspect.isfunction(member) and (name == "__init__" or not name.startswith("_")):
                call = kind.__name__ if name == "__init__" else f"{kind.__name__}.{name}"
                text = NAME if is_dataclass(kind) else TEXT
                setattr(kind, name, checking(member, call, settings=settings, text=text))
        return kind

    return decorate


def checking(function: F, call: str = "", *, settings: type | None = None, text: Rule = TEXT) -> F:
    """Return a function that checks its arguments and then does what `function` does.

    The new function raises TypeError for a wrong argument, ValueError for a text that cannot be sent. `call` is the
    name of the function in these errors.
    """
    check = Parameters(function, call or function.__name__, settings, text).check
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def checked_coroutine(*arguments: Any, **options: Any) -> Any:
            check(arguments, options)
            return await function(*arguments, **options)

        return typing.cast(F, checked_coroutine)

    @wraps(function)
    def checked_function(*arguments: Any, **options: Any) -> Any:
        check(arguments, options)
        return function(*arguments, **options)

    return typing.cast(F, checked_function)


class Parameters:
    """The parameters of a function, with the rule of each. The annotations are read at the first call."""

    def __init__(self, function: Any, call: str, settings: type | None = None, text: Rule = TEXT) -> None:
        self._function = function
        self._call = call
        self._settings = settings
        self._text = text

    def check(self, arguments: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Raise TypeError or ValueError for the first argument that is wrong."""
        positional, named, takes_any = self._rules
        for (name, rule), value in zip(positional, arguments, strict=False):
            if rule is not None and not rule.fits(value):
                raise self._wrong(name, value, rule)
        for name, value in options.items():
            rule = named.get(name)
            if rule is not None:
                if not rule.fits(value):
                    raise self._wrong(name, value, rule)
            elif name not in named and not takes_any:
                raise self._unknown(name, named)

    @cached_property
    def _rules(self) -> tuple[list[tuple[str, Rule | None]], dict[str, Rule | None], bool]:
        """Return the rules of arguments by place, those by name, and whether any other keyword may be given."""
        positional: list[tuple[str, Rule | None]] = []
        named: dict[str, Rule | None] = {}
        takes_any = False
        hints = typing.get_type_hints(self._function)
        for name, parameter in inspect.signature(self._function).parameters.items():
            hint = hints.get(name, object)
            if parameter.kind is parameter.VAR_KEYWORD:
                takes_any = typing.get_origin(hint) is not Unpack
                options = {} if takes_any else typing.get_type_hints(typing.get_args(hint)[0])
                named = {option: rule_of(kind, self._text) for option, kind in options.items()} | named
            elif parameter.kind is not parameter.VAR_POSITIONAL:
                named[name] = None if name in CHECKED_LATER else rule_of(hint, self._text)
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    positional.append((name, named[name]))
        return positional, named, takes_any

    @property
    def _makes_decorator(self) -> bool:
        """True if the function returns a decorator, which needs parentheses even without arguments."""
        return typing.get_origin(typing.get_type_hints(self._function).get("return")) is Callable

    def _wrong(self, name: str, value: Any, rule: Rule) -> Exception:
        """Return the error for a value that a rule refuses."""
        if rule.item is not None and _is_list(value, Collection):
            place, item = next((place, item) for place, item in enumerate(value) if not rule.item.fits(item))
            return self._wrong(f"{name}[{place}]", item, rule.item)
        if self._makes_decorator and (inspect.isroutine(value) or inspect.isclass(value)):
            kind = "class" if inspect.isclass(value) else "function"
            decorator = self._call[0].lower() + self._call[1:]
            return TypeError(
                f"{self._call}(): {name} is the {kind} '{value.__name__}'; write the decorator with parentheses: "
                f"@{decorator}()"
            )
        is_secret = name.partition("[")[0] in SECRET
        shown = "" if is_secret else f"{reprlib.repr(value)}, "
        if isinstance(value, str) and not is_encodable(value):
            return ValueError(f"{self._call}(): {name} is {shown}which {HALF_A_PAIR}")
        return TypeError(f"{self._call}(): {name} is {shown}of type {type(value).__name__}; it must be {rule.expected}")

    def _unknown(self, name: str, known: Iterable[str]) -> TypeError:
        """Return the error for a keyword that no parameter has."""
        options = [option for option in known if option != "self"]
        hint = hint_at(name, options)
        if not hint and self._settings is not None:
            settings = [field.name for field in fields(self._settings)]
            hint = hint_at(name, settings).replace("'?", "', a setting of connect?")
        listed = f"; its options are {', '.join(options)}" if options else "; it has none"
        return TypeError(f"{self._call}() has no option '{name}'{hint or listed}")


def rule_of(hint: Any, text: Rule = TEXT) -> Rule | None:
    """Return what a value must be by its annotation. Return None if it may be anything, or if another function
    checks it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, UnionType):
        return _any_of([rule_of(arm, text) for arm in inner])
    if origin is typing.Literal:
        return Rule(" or ".join(map(repr, inner)), lambda value: isinstance(value, str) and value in inner)
    if origin is tuple:
        return _tuple([rule_of(arm, text) for arm in inner])
    if origin is dict or origin is Mapping:
        return Rule("a dict", lambda value: isinstance(value, Mapping))
    if origin in (Sequence, Iterable):
        return _list(rule_of(inner[0], text), Collection if origin is Sequence else Iterable)
    if origin is Callable:
        return Rule("a function", callable)
    if isinstance(origin, type):
        return _of_type(origin)
    if hasattr(hint, "DESCRIPTOR") and hasattr(hint, "values"):  # an enum of protobuf
        # Other numbers are allowed: an agent of a later version may know more values.
        return Rule(f"a {hint.DESCRIPTOR.name}", lambda value: isinstance(value, int) and type(value) is not bool)
    if hint is str:
        return text
    return _of_type(hint) if isinstance(hint, type) and hint is not object else None


def _of_type(kind: type) -> Rule | None:
    if getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False):
        return None
    if kind is NoneType:
        return Rule("None", lambda value: value is None)
    expected = f"{'an' if kind.__name__[0] in 'aeiouAEIOU' else 'a'} {kind.__name__}"
    if kind is int:
        return Rule(expected, lambda value: isinstance(value, int) and type(value) is not bool)
    if kind is float:
        return Rule("a number", lambda value: isinstance(value, (int, float)) and type(value) is not bool)
    return Rule(expected, lambda value: isinstance(value, kind))


def _any_of(arms: Sequence[Rule | None]) -> Rule | None:
    rules = [rule for rule in arms if rule is not None]
    if len(rules) < len(arms):
        return None
    item = next((rule.item for rule in rules if rule.item is not None), None)
    return Rule(
        " or ".join(rule.expected for rule in rules), lambda value: any(rule.fits(value) for rule in rules), item
    )


def _tuple(rules: Sequence[Rule | None]) -> Rule:
    expected = ", ".join(rule.expected.partition(" ")[2] if rule else "anything" for rule in rules)

    def fits(value: Any) -> bool:
        if not isinstance(value, (tuple, list)) or len(value) != len(rules):
            return False
        return all(rule is None or rule.fits(item) for rule, item in zip(rules, value, strict=True))

    return Rule(f"a ({expected})", fits)


def _list(item: Rule | None, kind: Any) -> Rule:
    """Return the rule of a list or a similar type. The items of an iterator are not checked, because that would take
    them."""

    def fits(value: Any) -> bool:
        if not _is_list(value, kind):
            return False
        return item is None or not isinstance(value, Collection) or all(map(item.fits, value))

    return Rule(f"a list of {item.expected.partition(' ')[2]}" if item else "a list", fits, item)


def _is_list(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, (str, bytes, bytearray, memoryview, Mapping))
