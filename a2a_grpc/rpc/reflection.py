"""The descriptors that server reflection looks symbols up in, for both of its versions."""

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"
V1 = "grpc.reflection.v1.ServerReflection"
"""The name of reflection v1, which newer tools use. Its messages are those of v1alpha in another package."""

METHOD = "ServerReflectionInfo"
_V1_PACKAGE, _V1_FILE = "grpc.reflection.v1", "grpc/reflection/v1/reflection.proto"


class Symbols:
    """The default pool of protobuf, with methods: `grpcurl describe` asks for them, and the pool only knows services.

    grpcio does not have the file of reflection v1, so it is made from the file of v1alpha. It has a pool of its own,
    because another package of the process may register the same file.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._v1 = descriptor_pool.DescriptorPool()
        self._v1.Add(_v1_file())

    def FindFileByName(self, name: str) -> FileDescriptor:
        """Return the file with a name. Raise KeyError if there is none."""
        return (self._v1 if name == _V1_FILE else self._pool).FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:
        """Return the file of a message, enum, service or method. Raise KeyError if there is none."""
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
    """Return the file of reflection v1, made from that of v1alpha with its own names."""
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
