"""Messages as files."""

from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from promptlab import hints


@pytest.fixture
def channel(tmp_path):
    options = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path), "control_folder": str(tmp_path / "control")}
    with Connection(f"{hints.SCHEME}://localhost//", transport_options=options) as connection:
        yield connection.channel()


def test_message_comes_out_as_it_went_in_and_is_gone(channel, tmp_path):
    channel._put("gpu", {"body": "é"})

    assert channel._get("gpu") == {"body": "é"}
    assert list(tmp_path.glob("*.msg")) == []


def test_message_waits_for_its_own_queue(channel):
    channel._put("gpu", {"body": 1})

    with pytest.raises(Empty):
        channel._get("io")


@pytest.mark.parametrize("content", [b"", b'{"body": 3'])
def test_half_a_message_is_skipped_and_the_next_one_is_read(channel, tmp_path, content):
    Path(tmp_path, f"{0:020d}_torn.gpu.msg").write_bytes(content)
    channel._put("gpu", {"body": 2})

    with pytest.raises(Empty):
        channel._get("gpu")

    assert channel._get("gpu") == {"body": 2}


def test_message_that_is_still_being_written_is_not_seen(channel, tmp_path):
    Path(tmp_path, ".1_being-written.gpu.msg.partial").write_bytes(b"{")

    with pytest.raises(Empty):
        channel._get("gpu")


def test_messages_come_out_in_the_order_in_which_they_went_in(channel):
    for number in range(20):
        channel._put("gpu", {"body": number})

    assert [channel._get("gpu")["body"] for _ in range(20)] == list(range(20))
