"""What server reflection looks its symbols up in, under both of its versions."""

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"
"""Newer tools ask for this one. Its messages are those of v1alpha, byte for byte, under another package."""

METHOD = "ServerReflectionInfo"
_V1_PACKAGE, _V1_FILE = "grpc.reflection.v1", "grpc/reflection/v1/reflection.proto"


class Symbols:
    """Protobuf's default pool, which also finds methods: `grpcurl describe` asks for them, the pool knows services.

    The file of reflection v1, which grpcio does not have, is made from that of v1alpha, in a pool of its own: another
    package of the process may register that file one day.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._v1 = descriptor_pool.DescriptorPool()
        self._v1.Add(_v1_file())

    def FindFileByName(self, name: str) -> FileDescriptor:
        """The file of that name. Raises KeyError."""
        return (self._v1 if name == _V1_FILE else self._pool).FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """The file of a message, enum, service or method. Raises KeyError."""
        pool = self._v1 if symbol.startswith(f"{_V1_PACKAGE}.") else self._pool
        try:
            return pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            if method not in pool.FindServiceByName(service).methods_by_name:
                raise
            return pool.FindFileContainingSymbol(service)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)


def _v1_file() -> FileDescriptorProto:
    """Return the file of reflection v1: that of v1alpha, with its own names."""
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    before, after = f".{file.package}.", f".{_V1_PACKAGE}."
    file.name, file.package = _V1_FILE, _V1_PACKAGE
    file.ClearField("options")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # to set "" is not the same as to leave the field out
                field.type_name = field.type_name.replace(before, after)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(before, after)
        method.output_type = method.output_type.replace(before, after)
    return file
