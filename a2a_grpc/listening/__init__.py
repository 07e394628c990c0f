"""The ports of a server, or of a sentinel: addresses, certificates, connections, floods, health, reflection."""
