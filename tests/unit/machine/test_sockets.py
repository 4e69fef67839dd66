"""Sockets get a directory whose name leaves room for theirs."""

import socket
from pathlib import Path

import pytest
from raykd.errors import ConfigError
from raykd.machine.sockets import place_for_sockets


def directory(path: Path) -> str:
    path.mkdir()
    return str(path)


def test_a_short_name_is_taken_and_a_socket_of_the_room_fits(tmp_path: Path) -> None:
    room = 107 - len(str(tmp_path))
    assert place_for_sockets(str(tmp_path), room=room) == str(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/{'x' * (room - 1)}")


def test_a_long_name_gives_way_to_the_first_that_can_be_written(tmp_path: Path) -> None:
    wanted, other = directory(tmp_path / "longer"), directory(tmp_path / "b")
    room = 107 - len(wanted) + 1
    nowhere = str(tmp_path / "a")
    assert place_for_sockets(wanted, room=room, instead=[nowhere, other, "/"]) == other


def test_where_there_is_none_the_message_names_tmpdir(tmp_path: Path) -> None:
    wanted = directory(tmp_path / "longer")
    with pytest.raises(ConfigError, match=rf"TMPDIR: {wanted} is no .*set TMPDIR to another"):
        place_for_sockets(wanted, room=100, instead=["/nowhere"])
