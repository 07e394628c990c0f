"""Examples for the help of each verb."""

import inspect

EXAMPLES: dict[str, tuple[str, ...]] = {
    "init": (
        "a2a-grpc init my-agent",
        'a2a-grpc init poet --name Poet --description "Writes poems." --kind streaming',
    ),
    "serve": (
        "a2a-grpc serve greeter.py",
        "a2a-grpc serve greeter.py --listen 0.0.0.0:50051 --tls-cert cert.pem --tls-key key.pem",
        "a2a-grpc serve greeter.py --store postgresql://user@host/db --max-runs 20",
        "a2a-grpc serve greeter.py --attach 127.0.0.1:8000 --address greeter@example.com",
        "a2a-grpc serve greeter.py --register 127.0.0.1:8000",
    ),
    "sentinel": ("a2a-grpc sentinel", "a2a-grpc sentinel --listen 127.0.0.1:9000 --auth auth.toml"),
    "agents list": ("a2a-grpc agents list --registry 127.0.0.1:8000", "a2a-grpc agents list -o json --limit 1000"),
    "agents find": (
        "a2a-grpc agents find --skill translate",
        'a2a-grpc agents find --tag french "translate a letter"',
    ),
    "agents show": ("a2a-grpc agents show cancellable@fame.fabric",),
    "card": ("a2a-grpc card http://127.0.0.1:8080", "a2a-grpc card --validate card.json"),
    "chat": (
        "a2a-grpc chat",
        "a2a-grpc chat --sentinel 127.0.0.1:8000 --agent poet@example.com",
        "printf 'Ada\\nBob\\n' | a2a-grpc chat",
    ),
    "send": (
        'a2a-grpc send "Ada"',
        'a2a-grpc send --file report.pdf --data \'{"pages": 3}\' "Summarize this."',
        'a2a-grpc send --task TASK "the answer to a question"',
    ),
    "stream": (
        'a2a-grpc stream "Tell a story."',
        'a2a-grpc stream --sentinel 127.0.0.1:8000 --agent poet@example.com "Tell a story."',
        'a2a-grpc stream -o json "Tell a story."',
    ),
    "subscribe": ("a2a-grpc subscribe TASK", "a2a-grpc subscribe --after 12 TASK"),
    "get": ("a2a-grpc get TASK", "a2a-grpc get --no-artifacts -o json TASK"),
    "list": ("a2a-grpc list --state WORKING", "a2a-grpc list --since 2026-01-31 --limit 10"),
    "cancel": ("a2a-grpc cancel TASK",),
    "wait": ("a2a-grpc wait TASK", "a2a-grpc wait --timeout 600 --poll 30 TASK"),
    "health": ("a2a-grpc health", "a2a-grpc health --watch 127.0.0.1:50051"),
    "ping": ("a2a-grpc ping --count 100 --interval 0",),
    "doctor": ("a2a-grpc doctor", "a2a-grpc doctor grpcs://agent.example:443"),
    "top": ("a2a-grpc top", "a2a-grpc top https://agents.example:8080 --once -o json"),
    "login": ("a2a-grpc login https://agents.example --client-id a2a-cli",),
    "logout": ("a2a-grpc logout https://agents.example", "a2a-grpc logout --all"),
    "completion": ('eval "$(a2a-grpc completion bash)"', "a2a-grpc completion fish | source"),
    "keys new": (
        "a2a-grpc keys new alice --scope read --expires-days 90",
        "a2a-grpc keys new billing --tenant acme > billing.key",
    ),
    "keys list": ("a2a-grpc keys list --file keys.toml",),
    "keys revoke": ("a2a-grpc keys revoke alice", "a2a-grpc keys revoke alice --id 3fe1a0"),
    "db upgrade": (
        "a2a-grpc db upgrade --store postgresql://user@host/db",
        "a2a-grpc db upgrade --store postgresql://user@host/db --sql --from 0006",
    ),
    "db current": ("a2a-grpc db current --store sqlite:///tasks.db",),
    "db rename": ("a2a-grpc db rename Poet --store sqlite:///tasks.db",),
    "db stats": ("a2a-grpc db stats --store sqlite:///tasks.db",),
    "db export": (
        "a2a-grpc db export --store sqlite:///tasks.db tasks.jsonl",
        "a2a-grpc db export --store sqlite:///tasks.db | a2a-grpc db import --store postgresql://user@host/db",
    ),
    "db import": ("a2a-grpc db import --store postgresql://user@host/db --skip-existing tasks.jsonl",),
    "db purge": (
        "a2a-grpc db purge --store sqlite:///tasks.db --older-than 30d",
        "a2a-grpc db purge --store sqlite:///tasks.db --older-than 30d --state CANCELED --yes",
    ),
    "push create": ("a2a-grpc push create TASK https://hooks.example/a2a",),
    "push get": ("a2a-grpc push get TASK CONFIG",),
    "push list": ("a2a-grpc push list TASK",),
    "push delete": ("a2a-grpc push delete TASK CONFIG",),
    "push dead list": ("a2a-grpc push dead list --store sqlite:///tasks.db",),
    "push dead show": ("a2a-grpc push dead show TASK CONFIG --store sqlite:///tasks.db",),
    "push dead replay": ("a2a-grpc push dead replay --all --store sqlite:///tasks.db",),
    "push dead drop": ("a2a-grpc push dead drop TASK CONFIG --store sqlite:///tasks.db",),
    "push listen": ("a2a-grpc push listen --task TASK", "a2a-grpc push listen --port 9000 -o json"),
}
"""Commands that a user may type, by verb."""


def with_examples(path: str, about: str | None) -> str:
    """Return the help text of a verb, followed by its examples."""
    paragraphs = inspect.cleandoc(about or "").split("\n\n")
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    lines = "\n".join(f"  {command}" for command in EXAMPLES[path])
    return f"{text}\n\n\b\nExamples:\n{lines}"
