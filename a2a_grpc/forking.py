"""Refuse to use gRPC in a process that was forked while gRPC was in use, because it would hang or crash there."""

import os
import weakref
from typing import Any


class Fork:
    """Knows what uses gRPC in this process, and whether the process was forked meanwhile.

    There is one for each process, because gRPC has one state for each process.
    """

    def __init__(self) -> None:
        self._in_use: weakref.WeakSet[Any] = weakref.WeakSet()
        self._parent = 0
        """The id of the process that was forked while gRPC was in use, or 0."""
        self._left: list[Any] = []
        """The objects that the parent process had open. To free them would wait for threads that this process does
        not have."""
        self._is_watching = False

    def uses_grpc(self, user: Any) -> None:
        """Note that an object uses gRPC, until `done` or until the object is gone."""
        if not self._is_watching and hasattr(os, "register_at_fork"):
            self._is_watching = True
            os.register_at_fork(after_in_child=self._forked)
        self._in_use.add(user)

    def done(self, user: Any) -> None:
        """Note that an object does not use gRPC any more."""
        self._in_use.discard(user)

    def check(self, process: int = 0) -> None:
        """Raise RuntimeError if gRPC cannot be used here, because this process was forked.

        Args:
            process: The id of the process that made the object to use, or 0 to ask for all objects.
        """
        if process and process != os.getpid():
            raise RuntimeError(
                f"the client was opened in process {process}; after a fork it cannot be used in process {os.getpid()}: "
                "start processes with the method 'spawn', and make a client in each process"
            )
        if self._parent:
            raise RuntimeError(
                f"process {self._parent} was forked while it used gRPC, so gRPC does not work in process "
                f"{os.getpid()}; start processes with the method 'spawn', or before any client or server is opened"
            )

    def _forked(self) -> None:
        if self._in_use and not self._parent:
            self._parent = os.getppid()
            self._left = list(self._in_use)


FORK = Fork()
