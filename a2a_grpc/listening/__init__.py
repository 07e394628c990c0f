"""The ports of a server, or of a sentinel: addresses, certificates, connections, floods, health, reflection.

settings     the settings of ports
front        all gRPC ports of a program
port         one gRPC port, which is bound again after a failure
ports        whether a port is free, and a port that several processes share
listeners    the addresses of `listen`
tls          certificates, which are read again when they change
admin        the services for operators: health, reflection, channelz
health       grpc.health.v1

Floods of frames:

guard        ending connections that flood a port
debt         the bytes that a connection sent without a reason
intake       which connections have to wait
connections  the connections of a port in the kernel
counters     gRPC's counters of calls
usage        how busy this process is, and how many calls wait
sockets      the sockets of a port

HTTP:

http         an HTTP port
acceptor     accepting its connections

The process:

descriptors  the limit of open files
noise        gRPC's own log lines
"""
