"""The `a2a-grpc db` command that a message names for a store."""

import shlex

from a2a_grpc.masking import MASK


def db_command(verb: str, shown: str, *words: str) -> str:
    """Return the end of a sentence: the `a2a-grpc db` command to run for a store.

    A URL with a masked password cannot be part of a command, so the command then takes the URL from A2A_GRPC_STORE.

    Args:
        verb: The command, such as `upgrade`.
        shown: The URL of the store, its secrets masked.
        words: The arguments of the command.
    """
    command = shlex.join(["a2a-grpc", "db", verb, *words])
    if MASK in shown:
        return f"set A2A_GRPC_STORE to the URL with its password, and run: {command}"
    return f"run: {command} --store {shlex.quote(shown)}"
