"""The errors of a database that does not answer, or is not the one that was opened."""


class StoreUnavailable(Exception):
    """The store did not answer in time, although it was asked repeatedly. A write may or may not have happened.

    Attributes:
        said: The message for callers. It names no path and no host.
    """

    said = "the task store does not answer; try again"


class StoreLost(StoreUnavailable):
    """The next process would not read what this store writes, for example because the file was replaced.

    Trying again does not help.
    """

    said = (
        "the database file of the task store was deleted, moved or replaced; the server accepts no messages until the "
        "file is back or the server is restarted; the server's log names the file"
    )
