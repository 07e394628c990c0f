"""What a program that serves reports: its addresses, and events as lines for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from a2a_grpc.address import is_loopback, split_address
from a2a_grpc.auth import anonymous
from a2a_grpc.listening.settings import ListenSettings
from a2a_grpc.server.server import Server
from a2a_grpc.server.worker import Reporter


def where_tasks_are(store: str) -> str:
    """Return a sentence that says where a store keeps tasks, without its password."""
    if store.partition(":")[0] == "memory":
        return "tasks are kept in memory and end with this process"
    from a2a_grpc.database.urls import DatabaseUrl  # imports SQLAlchemy

    return f"tasks are kept in {DatabaseUrl.parse(store).location}"


def announce(server: Server, report: Reporter) -> None:
    """Report the addresses of a server that listens, what its user should know, and "ready"."""
    settings = server.settings
    report_listeners(settings, server.grpc_addresses, report)
    if server.admin_address:
        report("listening", {"protocol": "admin", "address": server.admin_address, "tls": bool(settings.tls_cert)})
    if server.http_url:
        report("listening", {"protocol": "http", "address": server.http_url})
    if settings.names_asked_host and server.http_url:
        port = split_address("listen", server.grpc_address)[1]
        text = f"the card names the host that it is asked at, with port {port}; --advertise HOST:PORT names another"
        report("note", {"text": text})
    report("note", {"text": where_tasks_are(settings.store)})
    if server.auth and anonymous not in server.auth:
        schemes = ", ".join(sorted(server.card.security_schemes))
        report("note", {"text": f"callers need credentials{f': {schemes}' if schemes else ''}"})
    if not settings.lenient_version and is_loopback(settings.listening[0].host):
        report("note", {"text": "calls need the header 'a2a-version: 1.0' (grpcurl: -H 'a2a-version: 1.0')"})
    admin = {"admin": server.admin_address} if server.admin_address else {}
    report("ready", {**ready_at(server.grpc_addresses), "http": server.http_url, **admin})


def report_listeners(settings: ListenSettings, addresses: Sequence[str], report: Reporter) -> None:
    """Report the addresses of gRPC ports, with port numbers that were chosen, and which of them use TLS."""
    for listener, address in zip(settings.public_listeners, addresses, strict=True):
        mutual = {"mtls": True} if listener.is_mutual else {}
        report("listening", {"protocol": "grpc", "address": address, "tls": bool(settings.tls_cert), **mutual})


def ready_at(addresses: Sequence[str]) -> dict[str, Any]:
    """Return what the event "ready" says of the addresses of gRPC ports."""
    first, *others = addresses
    return {"grpc": first, **({"grpc_more": others} if others else {})}


def noting(report: Reporter, note: str) -> Reporter:
    """Return a function that reports the note before "ready", so that a failed start says only why it failed."""

    def reporting(event: str, values: Mapping[str, Any]) -> None:
        if note and event == "ready":
            report("note", {"text": note})
        report(event, values)

    return reporting


def describe(event: str, values: Mapping[str, Any]) -> str:
    """Return an event as a line for people."""
    match event:
        case "listening" if values["protocol"] == "http":
            return f"HTTP  {values['address']}/.well-known/agent-card.json"
        case "listening":
            port = "gRPC " if values["protocol"] == "grpc" else "Admin"
            encrypted = " (mTLS)" if values.get("mtls") else " (TLS)" if values["tls"] else ""
            return f"{port} {values['address']}{encrypted}"
        case "ready":
            workers = f" workers={values['workers']}" if "workers" in values else ""
            grpc_addresses = ",".join([values["grpc"], *values.get("grpc_more", ())])
            return f"Ready grpc={grpc_addresses} http={values['http'] or 'off'}{workers}"
        case "note":
            return f"Note  {values['text']}"
        case "restarted":
            return f"Worker {values['worker']} ended ({values['ended']}); started again"
        case "draining":
            return f"{values['signal']}: draining; once more ends at once"
    return event.capitalize()
