"""Clients that ask and do not read, or begin to send and do not end.

python -m tests.attacks.unread NAME HOST:PORT CONNECTIONS SECONDS [TASK_ID]: `answers` and `subscriptions` ask for a
task 200 times in all with a window of 0, `requests` sends all but the last byte of 4 MiB on each of 100 streams of a
connection, as fast as the server's windows allow. Ends with a JSON line: bytes sent.
"""

import json
import struct
import sys
import threading
import time

from tests.attacks import http2
from tests.attacks.http2 import Peer
from tests.spec.raw_calls import field

SERVICE = "/lf.a2a.v1.A2AService"
CALLS = 200
REQUEST_BYTES = 4 * (1 << 20) - 16
CHUNK = bytes(16_384)
FIRST_WINDOW = 65_535
STREAMS = 100


def ask(peer: Peer, method: str, task_id: str, calls: int, until: float) -> int:
    """Make calls for a task, read none of their DATA, and make new ones for those that the server ends."""
    request = field(2, task_id.encode())
    stream, still_open = 1, set[int]()
    while time.monotonic() < until:
        while len(still_open) < calls:
            peer.send(http2.request(stream, f"{SERVICE}/{method}", request))
            still_open.add(stream)
            stream += 2
        for frame in peer.frames(timeout_s=0.2):
            if frame.kind == http2.RST_STREAM or (frame.kind == http2.HEADERS and frame.flags & http2.END_STREAM):
                still_open.discard(frame.stream)
            if time.monotonic() > until:
                break
    return 0


class HalfSent:
    """Sends requests as far as flow control allows, and never the last byte."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._connection_window = FIRST_WINDOW
        self._first_window = FIRST_WINDOW
        self._windows: dict[int, int] = {}
        self._left: dict[int, int] = {}
        self.sent = 0

    def open(self, stream: int) -> None:
        self._windows[stream], self._left[stream] = self._first_window, REQUEST_BYTES - 1
        self._peer.send(http2.headers(stream, http2.request_block(f"{SERVICE}/SendMessage")))
        self._send(stream, struct.pack(">BI", 0, REQUEST_BYTES))

    def play(self, until: float) -> None:
        for stream in range(1, 2 * STREAMS, 2):
            self.open(stream)
        last = 2 * STREAMS - 1
        self._push()
        while time.monotonic() < until:
            for frame in self._peer.frames(timeout_s=0.2):
                self._take(frame)
                self._push()
                if time.monotonic() > until:
                    return
                while len(self._windows) < STREAMS:
                    last += 2
                    self.open(last)

    def _take(self, frame: http2.Frame) -> None:
        if frame.kind == http2.WINDOW_UPDATE:
            by = int.from_bytes(frame.payload)
            if not frame.stream:
                self._connection_window += by
            elif frame.stream in self._windows:
                self._windows[frame.stream] += by
        elif frame.kind == http2.SETTINGS and not frame.flags & http2.ACK:
            for name, value in struct.iter_unpack(">HI", frame.payload):
                if name == http2.INITIAL_WINDOW_SIZE:
                    for stream in self._windows:
                        self._windows[stream] += value - self._first_window
                    self._first_window = value
        elif frame.kind == http2.RST_STREAM or (frame.kind == http2.HEADERS and frame.flags & http2.END_STREAM):
            self._windows.pop(frame.stream, None)
            self._left.pop(frame.stream, None)

    def _push(self) -> None:
        for stream, left in list(self._left.items()):
            while (size := min(len(CHUNK), left, self._windows[stream], self._connection_window)) > 0:
                self._send(stream, CHUNK[:size])
                self._left[stream] = left = left - size

    def _send(self, stream: int, payload: bytes) -> None:
        self._peer.send(http2.data(stream, payload))
        self._windows[stream] -= len(payload)
        self._connection_window -= len(payload)
        self.sent += len(payload)


def play(name: str, address: str, connections: int, until: float, task_id: str, sent: list[int]) -> None:
    while time.monotonic() < until:
        try:
            pairs = () if name == "requests" else ((http2.INITIAL_WINDOW_SIZE, 0),)
            with Peer.connect(address, *pairs) as peer:
                if name == "requests":
                    half = HalfSent(peer)
                    try:
                        half.play(until)
                    finally:
                        sent.append(half.sent)
                else:
                    method = "GetTask" if name == "answers" else "SubscribeToTask"
                    ask(peer, method, task_id, max(1, CALLS // connections), until)
        except OSError:
            time.sleep(0.01)


def main(name: str, address: str, connections: int, seconds: float, task_id: str = "") -> None:
    until, sent = time.monotonic() + seconds, list[int]()
    threads = [
        threading.Thread(target=play, args=(name, address, connections, until, task_id, sent), daemon=True)
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 15.0)
    print(json.dumps({"sent": sum(sent)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
