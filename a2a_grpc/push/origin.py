"""The origin of a push config: the version and the trace of the call that registered it, as one text.

A store keeps the text as the version of the config. A version contains no space.
"""


def written(version: str, trace: str) -> str:
    """Return the text for a version and a trace. Without a trace it is the version alone.

    Args:
        version: The version of the protocol with which the config was registered.
        trace: The trace as text; empty if there is none.
    """
    return f"{version} {trace}" if trace else version


def read(text: str) -> tuple[str, str]:
    """Return the version and the trace that `written` was given.

    Args:
        text: The result of `written`.
    """
    version, _, trace = text.partition(" ")
    return version, trace
