"""Whether files have changed since their contents were used."""

import os
from pathlib import Path

from a2a_grpc.watched import Watched


def test_files_have_changed_while_their_contents_differ_from_those_in_use(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("one")
    watched = Watched(first, second)
    assert not watched.has_changed()
    second.write_text("two")
    assert watched.has_changed()
    assert watched.has_changed()  # until they are used
    second.unlink()
    assert not watched.has_changed()
    (tmp_path / "new").write_text("ONE")
    (tmp_path / "new").replace(first)
    assert watched.has_changed()
    watched.use()
    assert not watched.has_changed()
    first.write_text("ONE")  # the same contents again
    assert not watched.has_changed()
    first.chmod(0o600)
    assert watched.has_changed()


def test_a_change_is_found_although_size_and_time_are_those_of_the_contents_in_use(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    watched = Watched(file)
    file.write_text("two")
    os.utime(file, ns=times)
    assert watched.has_changed()


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert not Watched(pipe, tmp_path).has_changed()
