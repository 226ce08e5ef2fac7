"""Files by their hash."""

from io import BytesIO
from pathlib import Path

import pytest
from django.core.files.storage import default_storage

from experiments.storage import StoredFileDamaged, copy_stored, open_stored, store_bytes, store_file, stored_path


def test_content_comes_back_by_its_hash():
    sha256, size = store_file(BytesIO(b"some rows"))

    with open_stored(sha256) as file:
        assert file.read() == b"some rows"
    assert size == 9
    assert stored_path(sha256).startswith(f"{sha256[:2]}/{sha256[2:4]}/")


def test_same_content_is_kept_once():
    first, _ = store_bytes(b"twice")
    second, _ = store_bytes(b"twice")

    assert first == second
    assert len(list(Path(default_storage.path(stored_path(first))).parent.iterdir())) == 1


def test_file_cut_short_by_a_crash_is_written_again():
    sha256, _ = store_bytes(b"the whole content")
    Path(default_storage.path(stored_path(sha256))).write_bytes(b"the who")

    store_bytes(b"the whole content")

    with open_stored(sha256) as file:
        assert file.read() == b"the whole content"


def test_unknown_hash_is_not_found():
    with pytest.raises(FileNotFoundError):
        open_stored("0" * 64)


def test_copy_of_a_damaged_file_is_refused_and_leaves_nothing(tmp_path):
    sha256, _ = store_bytes(b"precious")
    Path(default_storage.path(stored_path(sha256))).write_bytes(b"poisoned")

    with pytest.raises(StoredFileDamaged, match="Restore it from a backup"):
        copy_stored(sha256, tmp_path / "copy")

    assert list(tmp_path.iterdir()) == []
