"""What an instance on one machine starts, and what keeps it from starting, said before anything is started."""

import re
import socket
from pathlib import Path

import pytest

from experiments.local_stack import CannotStart, check_port, only_one, programs
from experiments.models import Queue

ROOT = Path(__file__).parents[2]


def test_every_queue_has_a_worker_on_one_machine_and_in_the_team_set_up():
    served = [program.arguments[program.arguments.index("-Q") + 1] for program in programs(8000) if "-Q" in program.arguments]
    files = [(ROOT / name).read_text() for name in ("docker-compose.yml", "Dockerfile")]

    assert sorted(served) == sorted(Queue.values)
    assert {queue for text in files for queue in re.findall(r'"?-Q"?, "?(\w+)', text)} == set(Queue.values)


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
