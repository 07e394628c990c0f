"""The services of a server, as gRPC's reflection lists them."""

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection_pb2

from a2a_grpc.client.responses import accepted
from a2a_grpc.rpc.reflection import METHOD, V1, V1ALPHA


async def services_of(channel: grpc.aio.Channel, metadata: list[tuple[str, str]]) -> list[str]:
    """Return the names of the services, by reflection v1, or by v1alpha if the server has no other."""
    for version in (V1, V1ALPHA):
        # One request, sent with the call. A request that is written later can reach a server that has refused the call.
        ask_once = channel.unary_stream(
            f"/{version}/{METHOD}",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        try:
            async for response in ask_once(request, metadata=metadata):
                listed = accepted("ServerReflectionInfo", response)
                return [service.name for service in listed.list_services_response.service]
        except grpc.aio.AioRpcError as failure:
            if version == V1ALPHA or failure.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    return []
