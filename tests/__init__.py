"""The tests: over real sockets, against real processes; faults come from outside."""
