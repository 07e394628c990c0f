"""Agents as entries of catalogs: AI Catalog 1.0 (its draft of 2026), ARD 0.91, and a plain list."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from a2a_grpc.address import is_loopback
from a2a_grpc.logical import is_logical
from a2a_grpc.protocol import CARD_PATH
from a2a_grpc.sentinel.directory import Listing

CARD_TYPE = "application/a2a-agent-card+json"
CATALOG_TYPE = "application/ai-catalog+json"
REGISTRY_TYPE = "application/ai-registry+json"
CONTEXT = "https://agenticresourcediscovery.org/context/v1"
"""The JSON-LD context of an entry (ARD §4.1)."""

MIN_QUERIES, MAX_QUERIES = 2, 5
"""The numbers of example queries that an entry may have (ARD §4.2)."""
MAX_IDENTIFIER_CHARS = 300

HEX = "x--"
"""What begins a part of an identifier that is written in hex."""

_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
_URN = re.compile(r"urn:air:([A-Za-z0-9.-]+)(?::[A-Za-z0-9._-]+)+")

JsonObject = dict[str, Any]


def agent_url(base: str, listing: Listing) -> str:
    """Return the URL by which clients find the card of an agent."""
    if urlsplit(listing.url).scheme in ("http", "https"):
        return listing.url
    return f"{base}/agents/{quote(listing.name, safe='/@' if is_logical(listing.name) else '')}"


def card_url(base: str, listing: Listing) -> str:
    """Return the URL of the card of an agent."""
    url = agent_url(base, listing)
    return url if urlsplit(url).path.endswith(".json") else url.rstrip("/") + CARD_PATH


def identifier_of(base: str, name: str) -> str:
    """Return the URN of an agent.

    It is `urn:air:DOMAIN:a2a:NAME:PATH` for the address NAME@DOMAIN/PATH, and `urn:air:HOST:agent:NAME` for another
    name, with the host of the sentinel. A name with other signs than a URN may have is written as their bytes in hex.

    Args:
        base: The URL of the sentinel.
        name: The logical address of an attached agent, or the name of a registered one.
    """
    if not is_logical(name):
        is_plain = _SEGMENT.fullmatch(name) and not name.startswith(HEX)
        return f"urn:air:{_publisher(base)}:agent:{name if is_plain else HEX + name.encode().hex()}"
    name, _, place = name.partition("@")
    domain, _, path = place.partition("/")
    return ":".join(["urn", "air", domain, "a2a", name, *(path.split("/") if path else ())])


def name_of(base: str, identifier: str) -> str:
    """Return the name of the agent with a URN; "" if no agent here can have this URN.

    Args:
        base: The URL of the sentinel.
        identifier: The URN.
    """
    parts = identifier.split(":")
    name = ""
    if len(parts) == 5 and parts[3] == "agent":
        name = parts[4]
        if name.startswith(HEX):
            try:
                name = bytes.fromhex(name.removeprefix(HEX)).decode()
            except ValueError:
                return ""
    elif len(parts) > 4 and parts[3] == "a2a":
        name = f"{parts[4]}@{'/'.join([parts[2], *parts[5:]])}"
    return name if name and identifier_of(base, name) == identifier else ""


def is_identifier(text: str) -> bool:
    """Return True if a text has the form of the identifier of an entry (ARD, appendix C)."""
    return len(text) <= MAX_IDENTIFIER_CHARS and _URN.fullmatch(text) is not None


def publisher_of(identifier: str) -> str:
    """Return the domain that an identifier names."""
    return identifier.split(":")[2]


def entry_of(base: str, listing: Listing) -> JsonObject:
    """Return the entry of an agent. Terms without a value are left out."""
    card = listing.card
    queries = list(dict.fromkeys(example for skill in card.skills for example in skill.examples if example))
    entry: JsonObject = {
        "identifier": identifier_of(base, listing.name),
        "displayName": card.name,
        "type": CARD_TYPE,
        "url": card_url(base, listing),
        "description": card.description,
        "tags": list(dict.fromkeys(tag for skill in card.skills for tag in skill.tags if tag)),
        "capabilities": [skill.id for skill in card.skills if skill.id],
        "representativeQueries": queries[:MAX_QUERIES] if len(queries) >= MIN_QUERIES else [],
        "version": card.version,
        "metadata": {"address": listing.name} if is_logical(listing.name) else {},
    }
    return {term: value for term, value in entry.items() if value}


def registry_entry(base: str) -> JsonObject:
    """Return the entry by which clients find the search of the sentinel (ARD §5.3)."""
    return {
        "identifier": f"urn:air:{_publisher(base)}:registry:agents",
        "displayName": f"Agents at {urlsplit(base).netloc}",
        "type": REGISTRY_TYPE,
        "url": f"{base}/",
        "description": "Searches the A2A agents that are attached to this sentinel, or registered there.",
        "representativeQueries": ["find an agent for this task", "which agents are there"],
    }


def ai_catalog(base: str, listings: Sequence[Listing], next_url: str) -> JsonObject:
    """Return the catalog of agents (`/.well-known/ai-catalog.json`).

    Args:
        base: The URL of the sentinel.
        listings: The agents of this page.
        next_url: The URL of the catalog with further agents; empty if there are none.
    """
    host = urlsplit(base).netloc
    entries = [registry_entry(base), *(entry_of(base, listing) for listing in listings)]
    return {"specVersion": "1.0", "host": {"displayName": host}, "entries": entries + _further(base, next_url)}


def ard_manifest(base: str, listings: Sequence[Listing], next_url: str) -> JsonObject:
    """Return the manifest of ARD (`/.well-known/ard.json`). The arguments are those of `ai_catalog`.

    ARD 0.91 ignores all members except `entries`. ARD 0.9 asks for the others.
    """
    catalog = ai_catalog(base, listings, next_url)
    return {**catalog, "entries": [{"@context": CONTEXT, **entry} for entry in catalog["entries"]]}


def plain_list(base: str, listings: Sequence[Listing], next_url: str) -> list[JsonObject]:
    """Return the list of agents at `/registry/agents`. The arguments are those of `ai_catalog`."""
    return [_plain(base, listing) for listing in listings]


def _plain(base: str, listing: Listing) -> JsonObject:
    card = listing.card
    return {
        "name": card.name,
        "url": agent_url(base, listing),
        "address" if is_logical(listing.name) else "registered": listing.name,
        "description": card.description,
        "version": card.version,
        "skills": [
            {"id": skill.id, "name": skill.name, "description": skill.description, "tags": list(skill.tags)}
            for skill in card.skills
        ],
    }


def _publisher(base: str) -> str:
    """Return the domain of the sentinel for identifiers. The name for this machine is one that ARD recommends."""
    host = urlsplit(base).hostname or ""
    return "agent.localhost" if is_loopback(host) or not re.fullmatch("[a-z0-9.-]+", host) else host


def _further(base: str, next_url: str) -> list[JsonObject]:
    """Return the entry of the catalog with further agents."""
    if not next_url:
        return []
    return [
        {
            "identifier": registry_entry(base)["identifier"].replace(":registry:", ":catalog:"),
            "displayName": "Further agents",
            "type": CATALOG_TYPE,
            "url": next_url,
        }
    ]
