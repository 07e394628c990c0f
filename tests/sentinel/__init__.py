"""The sentinel and attached agents, on real sockets and in processes of their own."""
