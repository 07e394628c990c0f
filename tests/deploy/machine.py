"""Programs of a Debian machine that the steps of docs/deploy.md call, and that a test cannot call as they are.

`python machine.py NAME ARGUMENTS…` is the program NAME:

apt-get     installs nothing. When PostgreSQL is asked for, it starts a server, as Debian's package does.
git         `clone` mounts the checkout that is tested; `pull` finds nothing new.
python3     `-m venv` makes an environment that has the packages of the tests' own, and a pip for this package only.
systemctl   starts what the units say, as their user and with their variables, and stops it with SIGTERM.
"""

import grp
import os
import pwd
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path("/run/machine")
"""Where the ids of processes are."""
LIBRARY = "LD_LIBRARY_PATH=/opt/python/lib"
"""The agent's user cannot read the home of root, and Python may be installed there."""
DEBIAN = {
    "haproxy": ["/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"],
    "prometheus": [
        "/usr/bin/prometheus",
        "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/run/tsdb",
    ],
}
"""What the units of Debian's packages start."""


def apt_get(*words: str) -> None:
    if "postgresql" not in words:
        return
    data, programs = "/run/postgresql/data", sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    Path("/run/postgresql").mkdir(exist_ok=True)
    os.chown("/run/postgresql", *account("postgres")[:2])
    as_user("postgres", str(programs / "initdb"), "-D", data, "--auth-local=peer", "--auth-host=scram-sha-256")
    options = "-k /run/postgresql -c listen_addresses=127.0.0.1"
    as_user("postgres", str(programs / "pg_ctl"), "-D", data, "-w", "-l", f"{data}/log", "-o", options, "start")


def git(*words: str) -> None:
    match words:
        case ["clone", _, folder]:
            Path(folder).mkdir()
            run("mount", "--bind", os.environ["CHECKOUT"], folder)
        case ["-C", folder, "pull"]:
            assert Path(folder, "pyproject.toml").is_file()


def python3(*words: str) -> None:
    m, venv, folder = words
    assert (m, venv) == ("-m", "venv")
    python = f"/opt/python/bin/{Path(sys.executable).resolve().name}"
    run(python, "-m", "venv", "--without-pip", "--symlinks", folder)
    [packages] = Path(folder).glob("lib/python3*/site-packages")
    (packages / "tests.pth").write_text("/opt/a2a-grpc\n/opt/a2a-grpc/generated\n/opt/packages\n")
    write_program(Path(folder, "bin", "pip"), f'exec {sys.executable} {__file__} pip {folder} "$@"')


def pip(folder: str, *words: str) -> None:
    import tomllib

    install, package = words
    path, _, extras = package.removesuffix("]").partition("[")
    project = tomllib.loads(Path(path, "pyproject.toml").read_text())["project"]
    assert install == "install"
    assert set(extras.split(",")) <= set(project["optional-dependencies"]), extras
    for name in project["scripts"]:
        write_program(Path(folder, "bin", name), f'{LIBRARY} exec {folder}/bin/python -m a2a_grpc "$@"')


def systemctl(*words: str) -> None:
    match words:
        case ["daemon-reload"]:
            pass
        case ["enable", "--now", *units]:
            for unit in units:
                start(unit)
        case ["restart", unit]:
            stop(unit)
            start(unit)


def start(unit: str) -> None:
    name, at, instance = unit.partition("@")
    variables = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    if not at:
        return spawn(unit, DEBIAN[name], variables, "/", "root")
    text = Path(f"/etc/systemd/system/{name}@.service").read_text().replace("%i", instance)
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    lines = Path(said["EnvironmentFile"]).read_text().splitlines()  # systemd reads it as root
    variables |= dict(line.split("=", 1) for line in lines)
    return spawn(unit, shlex.split(said["ExecStart"]), variables, said["WorkingDirectory"], said["User"])


def spawn(unit: str, command: list[str], variables: dict[str, str], folder: str, user: str) -> None:
    STATE.mkdir(exist_ok=True)
    uid, gid, _ = account(user)
    with (STATE / f"{unit}.log").open("a") as log:
        process = subprocess.Popen(
            ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *command],
            cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    (STATE / f"{unit}.pid").write_text(str(process.pid))


def stop(unit: str) -> None:
    path = STATE / f"{unit}.pid"
    if path.exists():
        pid = int(path.read_text())
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
            time.sleep(0.02)


def account(user: str) -> tuple[int, int, str]:
    found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid, grp.getgrgid(found.pw_gid).gr_name


def as_user(user: str, *command: str) -> None:
    uid, gid, _ = account(user)
    run("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *command)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
