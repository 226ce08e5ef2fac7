"""Files addressed by their SHA-256 in Django's default storage (a local folder or S3). Knows bytes, never what they mean."""

import hashlib
import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from django.core.files import File
from django.core.files.storage import default_storage

CHUNK = 1 << 20


class StoredFileDamaged(Exception):
    """A stored file no longer has the bytes that its name promises."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"The stored file {sha256[:12]}… does not have the content it was stored with. Restore it from a backup.")


def stored_path(sha256: str) -> str:
    """The name of a stored file: two levels of folders keep each of them small."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def store_bytes(content: bytes) -> tuple[str, int]:
    """Keep `content`; returns its SHA-256 and size. The same content is kept once."""
    return store_file(BytesIO(content))


def store_file(fileobj: BinaryIO) -> tuple[str, int]:
    """Keep everything from the start of a seekable binary file; returns its SHA-256 and size."""
    fileobj.seek(0)
    sha256, size = _digest(fileobj)
    if not _is_stored(sha256, size):
        fileobj.seek(0)
        _save(stored_path(sha256), fileobj)
    return sha256, size


def open_stored(sha256: str) -> BinaryIO:
    """A stored file, open for reading.

    Raises:
        FileNotFoundError: no such file is stored.
    """
    return cast(BinaryIO, default_storage.open(stored_path(sha256), "rb"))


def forget_stored(sha256: str) -> None:
    """Delete a stored file that no row refers to any more; one that is not there is nothing to forget."""
    default_storage.delete(stored_path(sha256))


def copy_stored(sha256: str, target: Path) -> None:
    """Write a stored file to a local path, whole or not at all, and check its bytes on the way.

    Raises:
        FileNotFoundError: no such file is stored.
        StoredFileDamaged: its bytes have changed.
    """
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    with open_stored(sha256) as source, partial.open("wb") as copy:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != sha256:
        partial.unlink()
        raise StoredFileDamaged(sha256)
    partial.replace(target)


def _digest(fileobj: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := fileobj.read(CHUNK):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest(), size


def _is_stored(sha256: str, size: int) -> bool:
    """Whether the file is there in full. A process that died while saving leaves a shorter one, which is thrown away."""
    name = stored_path(sha256)
    if not default_storage.exists(name):
        return False
    if default_storage.size(name) == size:
        return True
    default_storage.delete(name)
    return False


def _save(name: str, fileobj: BinaryIO) -> None:
    saved = default_storage.save(name, File(fileobj))
    if saved != name:  # somebody else stored the same content meanwhile, and storage chose another name for ours
        default_storage.delete(saved)
        return
    _flush(name)


def _flush(name: str) -> None:
    """Local files reach the disk before a row refers to them; remote storage does that by itself."""
    try:
        descriptor = os.open(default_storage.path(name), os.O_RDONLY)
    except NotImplementedError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
