"""A sentinel at 127.0.0.1:8000: one address in front of agents that attach to it.

This program is `a2a-grpc sentinel`, and has the same options and variables.
"""

import sys

from a2a_grpc.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["sentinel"]
    main()
