"""The arguments of gRPC servers. The reason for each was measured."""

from dataclasses import dataclass

from a2a_grpc.arguments import checked
from a2a_grpc.config import GRPC_MOST, check_ranges, documented, for_grpc, setting

MiB = 1 << 20

FIRST_WINDOW_BYTES = 16 * 1024
"""Bytes of a request that a client may send before a handler asks for the request."""

FIRST_BUFFER_BYTES = 64 * 1024
"""Received bytes that may wait in the kernel for a guarded connection whose calls are not known yet. Half is data."""

READ_BYTES = 16 * 1024
"""Bytes that gRPC reads from a connection at once. Connections take turns, and such a piece may be a header list that
takes a MiB of memory and milliseconds to decode."""


@checked()
@documented
@dataclass(frozen=True, slots=True, kw_only=True)
class TransportSettings:
    """Limits and times of the HTTP/2 transport."""

    max_streams_per_connection: int = setting(
        100, "Calls that may be open at the same time on one connection.", minimum=1
    )
    max_receive_bytes: int = setting(4 * MiB, "Largest size of a request, in bytes.", minimum=1024)
    max_send_bytes: int = setting(
        65 * MiB, "Largest size of a response, or of one element of a stream, in bytes.", minimum=1024
    )
    max_call_metadata_bytes: int = setting(16 * 1024, "Largest size of the metadata of a call, in bytes.", minimum=1024)
    keepalive_time_s: float = setting(30.0, "Seconds of silence after which a client is pinged; 0: never.", minimum=0)
    keepalive_timeout_s: float = setting(10.0, "Seconds a client has to answer a ping.", minimum=0.1)
    min_ping_interval_s: float = setting(
        0.0, "Seconds a client has to wait between two pings, or its connection is closed; 0: no limit.", minimum=0
    )
    max_connection_age_s: float = setting(
        1800.0, "Seconds until a client is asked to close its connection; 0: never.", minimum=0
    )
    max_connection_age_grace_s: float = setting(600.0, "Seconds that open calls have from then on.", minimum=0)
    max_connection_idle_s: float = setting(
        900.0, "Seconds a connection without calls is kept; 0: without limit.", minimum=0
    )
    handshake_timeout_s: float = setting(
        10.0, "Seconds that a new connection has for its TLS handshake and its HTTP/2 preface.", minimum=0.1
    )
    socket_buffer_bytes: int = setting(
        256 * 1024,
        "Received bytes of a connection that may wait in the kernel; 0: the default of the system.",
        minimum=0,
    )

    def __post_init__(self) -> None:
        check_ranges(self)


def server_options(
    settings: TransportSettings, *, reuse_port: bool = False, channelz: bool = False, is_guarded: bool = False
) -> list[tuple[str, int]]:
    """Return the arguments for `grpc.aio.server`.

    If connections are guarded, a new connection has at most `FIRST_BUFFER_BYTES`, and the guard gives it more later.
    """
    buffer_bytes = settings.socket_buffer_bytes
    if is_guarded:
        buffer_bytes = min(FIRST_BUFFER_BYTES, buffer_bytes)
    return [
        # On by default: a second server on a taken port would share its connections in silence.
        ("grpc.so_reuseport", int(reuse_port)),
        ("grpc.enable_channelz", int(channelz or is_guarded)),
        # Without it one connection that opens and resets streams in a hurry starves all others. It also bounds what a
        # connection's header lists can hold.
        ("grpc.max_concurrent_streams", for_grpc(settings.max_streams_per_connection)),
        # gRPC counts streams that were reset and are not yet freed, and refuses new ones beyond the limit. Without
        # this protection rapid resets of one connection took 1.2 GiB in three seconds. A client may cancel all its
        # streams and open as many at once. So as many may be about to be freed: with half of them, calls of such a
        # client were refused while the processor was busy. gRPC 1.80 and older do not know the second argument and
        # still refuse those calls.
        ("grpc.http.overload_protection", 1),
        ("grpc.http2.max_deallocating_streams", for_grpc(settings.max_streams_per_connection)),
        # Without it gRPC reads megabytes of a connection at once if they come quickly. Versions before 1.85 ignore it.
        ("grpc.experimental.tcp_max_read_buffer_size", READ_BYTES),
        ("grpc.max_receive_message_length", for_grpc(settings.max_receive_bytes)),
        ("grpc.max_send_message_length", for_grpc(settings.max_send_bytes)),
        # gRPC inflates a compressed request in the threads that read all connections: 4 MiB from 4 KiB. `Arrivals` has
        # a bound.
        ("grpc.per_message_decompression", 0),
        # With its defaults gRPC lets a client send megabytes that no handler has asked for.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", FIRST_WINDOW_BYTES),
        ("grpc.max_metadata_size", for_grpc(settings.max_call_metadata_bytes)),
        ("grpc.absolute_max_metadata_size", for_grpc(settings.max_call_metadata_bytes)),
        ("grpc.keepalive_time_ms", _ms(settings.keepalive_time_s) or GRPC_MOST),
        ("grpc.keepalive_timeout_ms", _ms(settings.keepalive_timeout_s)),
        # The keepalive timeout alone does not notice a peer that stalls; this one does.
        ("grpc.http2.ping_timeout_ms", _ms(settings.keepalive_timeout_s)),
        # The spelling with `recv` in it is ignored, and clients that ping die of too_many_pings.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(settings.min_ping_interval_s)),
        # Without a limit no ping is a strike. Each ping after the last strike makes gRPC copy all errors of the pings
        # before it. A flood from forty connections kept two cores busy for minutes after the flood had ended.
        ("grpc.http2.max_ping_strikes", 2 if settings.min_ping_interval_s else 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_age_ms", _ms(settings.max_connection_age_s) or GRPC_MOST),
        ("grpc.max_connection_age_grace_ms", _ms(settings.max_connection_age_grace_s)),
        ("grpc.max_connection_idle_ms", _ms(settings.max_connection_idle_s) or GRPC_MOST),
        ("grpc.server_handshake_timeout_ms", _ms(settings.handshake_timeout_s)),
        # gRPC's limits of streams and metadata begin when the client acknowledges them; it has so long.
        ("grpc.http2.settings_timeout", _ms(settings.handshake_timeout_s)),
        # Over these limits (1,000 and 3,000) gRPC cancels calls that wait to be accepted, which no client repeats.
        # Each accepted call is either served, or refused by `Calls` with a status that says when to try again.
        ("grpc.server.max_pending_requests", GRPC_MOST),
        ("grpc.server.max_pending_requests_hard_limit", GRPC_MOST),
        *([("grpc.tcp_receive_buffer_size", for_grpc(buffer_bytes))] if buffer_bytes else []),
    ]


def _ms(seconds: float) -> int:
    return for_grpc(1000 * seconds)
