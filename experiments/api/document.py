"""The API object, whose OpenAPI document also tells what an error looks like. Knows no operation."""

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from experiments.api.errors import ERROR_SCHEMA

ERROR_ANSWER = {
    "description": "Refused or failed; the sentence says why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


class WorkspaceAPI(NinjaAPI):
    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """The document, with the one error answer on every operation."""
        document = super().get_openapi_schema(**options)
        document["components"]["schemas"]["Error"] = ERROR_SCHEMA
        for verbs in document["paths"].values():
            for operation in verbs.values():
                operation["responses"]["default"] = ERROR_ANSWER
        return document
