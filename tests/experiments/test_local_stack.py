"""What keeps an instance from starting on this machine is said before anything is started."""

import socket

import pytest

from experiments.local_stack import CannotStart, check_port, only_one


def test_a_taken_port_is_named_with_a_free_one_to_try():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(CannotStart, match=f"Port {port} is taken.*make run PORT={port + 1}"):
            check_port(port)

    check_port(port)


def test_one_instance_a_state_directory(tmp_path):
    with only_one(tmp_path), pytest.raises(CannotStart, match=f"already runs from {tmp_path}"), only_one(tmp_path):
        pass

    with only_one(tmp_path):
        pass
