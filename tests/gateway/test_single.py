"""One gateway a directory."""

import os
from pathlib import Path

import pytest

from gateway.single import LOCK, AlreadyRunning, alone


def test_a_second_gateway_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    place = tmp_path / "state"
    with alone(place):
        with (
            pytest.raises(AlreadyRunning, match=rf"{place}: .*process {os.getpid()}.*state_dir"),
            alone(place),
        ):
            pytest.fail("both run")
        with alone(tmp_path / "other"):
            pass
    with alone(place):
        assert (place / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_file_left_over_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("123456789\n")
    with alone(tmp_path):
        assert (tmp_path / LOCK).read_text() == f"{os.getpid()}\n"


def test_a_directory_that_cannot_be_written_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    reached = []
    with alone(tmp_path / "file" / "state"):
        reached.append("the gateway runs in memory")
    assert reached
