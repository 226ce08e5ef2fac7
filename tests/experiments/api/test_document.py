from django.test import Client

from experiments.api import api


def test_document_needs_no_key_and_describes_errors(db):
    document = Client().get("/api/v1/openapi.json").json()

    assert "Error" in document["components"]["schemas"]
    assert all("default" in operation["responses"] for verbs in document["paths"].values() for operation in verbs.values())


def test_document_is_made_once_and_no_reader_changes_it(db):
    first = api.get_openapi_schema()
    read = Client().get("/api/v1/openapi.json").json()
    Client().get("/api/v1/")

    assert api.get_openapi_schema() is first
    assert Client().get("/api/v1/openapi.json").json() == read


def test_every_operation_asks_for_a_key():
    document = api.get_openapi_schema(path_prefix="/api/v1/")

    assert all(operation.get("security") for verbs in document["paths"].values() for operation in verbs.values())


def test_reference_page_lists_every_operation_and_loads_nothing_from_elsewhere(db):
    page = Client().get("/api/v1/").content.decode()
    document = Client().get("/api/v1/openapi.json").json()

    assert all(path in page for path in document["paths"])
    assert "//" not in page.replace("http://www.w3.org", "").replace("<!--", "").split("<body")[0]


def test_reference_page_names_the_parts_of_an_object(db):
    page = Client().get("/api/v1/").content.decode()

    assert "object with train, validation and test" in page
    assert "any value" not in page
