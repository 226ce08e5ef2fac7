"""A disk without room, as the engine host tells it."""

import errno
import io
import json

import pytest
from safetensors import SafetensorError

from workers.engine.contract.spec import RunSpec
from workers.engine.errors import is_out_of_disk
from workers.engine.host import Host


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), False),
    ],
)
def test_disk_without_room_is_known_from_other_faults(error, is_full):
    assert is_out_of_disk(error) is is_full


def test_host_says_that_the_disk_is_full_and_does_the_next_job(monkeypatch, tmp_path):
    def execute(run: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workers.engine.host.execute", execute)
    monkeypatch.setattr(RunSpec, "from_file", lambda path: None)
    said = io.StringIO()
    asked = "".join(json.dumps({"op": "run", "id": name, "spec": "s", "out": str(tmp_path)}) + "\n" for name in ("first", "second"))

    Host(said).serve(io.StringIO(asked))

    events = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(event["id"], event["kind"]) for event in events if event["event"] == "failed"] == [
        ("first", "disk_full"),
        ("second", "disk_full"),
    ]
    assert all(event["message"].startswith("The worker's disk is full.") for event in events if event["event"] == "failed")
