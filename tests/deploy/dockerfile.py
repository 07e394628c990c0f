"""Read deploy/Dockerfile: what a container runs, with which variables."""

import json
import re
import shlex

from tests.deploy.proxies import DEPLOY


def instructions() -> list[tuple[str, str]]:
    """Return each instruction with its text. Continued lines are one."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(verb, rest) for verb, _, rest in (line.partition(" ") for line in lines)]


def texts(verb: str) -> list[str]:
    return [rest for found, rest in instructions() if found == verb]


def command(verb: str) -> list[str]:
    """Return the command of ENTRYPOINT, CMD or HEALTHCHECK, which has to be a list: no shell takes the signals."""
    (text,) = texts(verb)
    listed: list[str] = json.loads(text[text.index("[") :])
    return listed


def variables() -> dict[str, str]:
    (text,) = texts("ENV")
    return dict(pair.split("=", 1) for pair in shlex.split(text))
