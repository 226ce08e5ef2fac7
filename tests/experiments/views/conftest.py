"""Dora's browser, and a file that it uploads."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.upload_data import CSV


@pytest.fixture
def dora_client(client_for, dora):
    return client_for(dora)


@pytest.fixture
def upload(dora_client):
    def send(content: bytes = CSV, name: str = "mail.csv", **fields):
        return dora_client.post("/w/acme/data/new/", {"file": SimpleUploadedFile(name, content), **fields})

    return send
