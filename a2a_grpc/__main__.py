"""`python -m a2a_grpc` is `a2a-grpc`."""

from a2a_grpc.cli import main

if __name__ == "__main__":
    main()
