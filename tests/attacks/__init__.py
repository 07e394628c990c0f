"""Attacks over the wire: raw sockets against a server process, with a good client beside.

`http2` speaks raw HTTP/2 frames, as a client or as a scripted server. `floods` holds the attacks as a program. `good`
is the good client as a program. `bare` is a bare grpc.aio server as a program. `rig` starts them and measures.
"""
