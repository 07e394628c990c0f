"""What callers of the protocol's other packages hear: the name of the one that is served."""

import grpc
import grpc.aio

from a2a_grpc.wire import SERVICE_NAME

OTHER_SERVICES = ("a2a.v1.A2AService", "a2a.A2AService")
"""A2A 0.3 and drafts of 1.0, whose messages have other fields."""


class OtherVersions(grpc.GenericRpcHandler):
    """Answers calls of another version's service; of a method that no server knows, clients would only hear that."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        service = handler_call_details.method.lstrip("/").partition("/")[0]
        if service not in OTHER_SERVICES:
            return None

        async def refuse(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
            await context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"this server speaks A2A 1.0, which is the service {SERVICE_NAME}; {service} is another version's",
            )
            return b""

        return grpc.unary_unary_rpc_method_handler(refuse)
