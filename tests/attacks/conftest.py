"""The long forms of the attacks are collected for `make test-all` alone."""

from tests.attacks.rig import LONG

collect_ignore_glob = [] if LONG else ["test_*_long.py"]
