"""Names of stores that several processes can use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from a2a_grpc.store.sharing import shared_name


def test_a_store_in_memory_has_no_name() -> None:
    assert shared_name("memory:") == shared_name("memory://") == ""


def test_one_file_has_one_name_by_every_path_and_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    name = shared_name(f"sqlite:///{tmp_path}/folder/tasks.db")
    assert shared_name(f"sqlite:///{tmp_path}/link/tasks.db") == name
    assert shared_name(f"sqlite:///{tmp_path}/folder/../folder/tasks.db?synchronous=normal") == name
    (tmp_path / "folder/tasks.db").touch()
    assert shared_name(f"sqlite:///{tmp_path}/folder/tasks.db") == name
    assert shared_name(f"sqlite:///{tmp_path}/folder/other.db") != name
    assert shared_name(f"sqlite:///{tmp_path}/tasks.db") != name
    program = "from a2a_grpc.store.sharing import shared_name; print(shared_name('sqlite:///tasks.db'))"
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "folder", capture_output=True, check=True, text=True
    )
    assert ran.stdout.strip() == name


def test_a_file_in_no_folder_has_no_name() -> None:
    assert shared_name("sqlite:////nonexistent/folder/tasks.db") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://ada:a@db/tasks?schema=x", "postgres://bob:b@DB:5432/tasks?schema=x&application_name=y"),
        ("postgresql://ada:a@db/tasks", "postgresql://ada:b@db/tasks"),
        ("postgresql://ada@/tasks?host=db&port=5433", "postgresql://ada@db:5433/tasks"),
        ("postgresql://ada@a,b:5433/tasks", "postgresql://ada@a:5432,b:5433/tasks"),
        ("mysql://ada@db/tasks", "mariadb://ada@db:3306/tasks"),
        ("postgresql://ada@localhost/tasks", "postgresql://ada@localhost:5432/tasks"),
    ],
)
def test_one_database_has_one_name(one: str, other: str) -> None:
    assert shared_name(one) == shared_name(other) != ""
    assert "ada" not in shared_name(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("postgresql://ada@db/tasks", "postgresql://ada@db/others"),
        ("postgresql://ada@db/tasks", "postgresql://ada@other/tasks"),
        ("postgresql://ada@db/tasks", "postgresql://ada@db:5433/tasks"),
        ("postgresql://ada@db/tasks", "postgresql://ada@db/tasks?schema=x"),
        ("postgresql://ada@db/tasks", "postgresql://bob@db/tasks"),  # the search path may name the user
        ("postgresql://ada@db/tasks", "mysql://ada@db/tasks"),
    ],
)
def test_two_databases_have_two_names(one: str, other: str) -> None:
    assert shared_name(one) != shared_name(other)


def test_a_database_of_the_loopback_address_is_another_one_in_another_network(tmp_path: Path) -> None:
    unshare = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if unshare.returncode:
        pytest.skip("no right to make a network")
    program = "from a2a_grpc.store.sharing import shared_name; print(shared_name('postgresql://a@127.0.0.1/t'))"
    ran = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", program], capture_output=True, check=True, text=True, env=os.environ
    )
    assert ran.stdout.strip() != shared_name("postgresql://a@127.0.0.1/t")
