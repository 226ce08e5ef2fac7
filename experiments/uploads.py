"""The size limit of uploads, kept while the bytes arrive: nothing larger is ever stored, in memory or on disk.

Set as the first of FILE_UPLOAD_HANDLERS, so that it holds for every page and for the API.
"""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest

# Beyond this many times the limit the rest is not even read: the connection is closed.
FAR_TOO_LARGE = 3
REFUSED = "promptlab.upload_refused"


class LimitedUploadHandler(FileUploadHandler):
    """Stops an upload at UPLOAD_MAX_BYTES and notes on the request that it did; see `upload_refused`."""

    num_bytes = 0  # of all files of the request together
    request: HttpRequest

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.num_bytes += len(raw_data)
        if self.num_bytes > settings.UPLOAD_MAX_BYTES:
            self.request.META[REFUSED] = True
            announced = int(self.request.META.get("CONTENT_LENGTH") or 0)
            raise StopUpload(connection_reset=announced > FAR_TOO_LARGE * settings.UPLOAD_MAX_BYTES)
        return raw_data

    def file_complete(self, file_size: int) -> "UploadedFile[Any] | None":
        """The handlers after this one keep the file."""
        return None


def upload_refused(request: HttpRequest) -> str | None:
    """A sentence when an upload of this request was larger than allowed, else None. Reads the request's body."""
    request.FILES  # noqa: B018 - parsing the body runs the handlers
    if not request.META.get(REFUSED):
        return None
    return f"The file is larger than the {settings.UPLOAD_MAX_BYTES // 2**20:,} MB that one upload may have. Split it into smaller files."
