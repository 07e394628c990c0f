"""Generated code of `proto/a2a.proto`: `a2a_pb2` (messages) and `a2a_pb2_grpc` (stubs). Made by `make proto`."""
