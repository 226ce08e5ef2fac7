"""The API object, whose OpenAPI document also tells what an error looks like. Knows no operation."""

from functools import lru_cache
from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema

from experiments.api.errors import ERROR_SCHEMA

ERROR_ANSWER = {
    "description": "Refused or failed; the sentence says why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}


class WorkspaceAPI(NinjaAPI):
    def get_openapi_schema(self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None) -> OpenAPISchema:
        """The document, with the one error answer on every operation. To be read only: it is the same object for every reader."""
        return _document(self, self.get_root_path(path_params or {}) if path_prefix is None else path_prefix)


# Making it takes longer than any page, and anybody may ask for it, without a key. A site has one prefix.
@lru_cache(maxsize=4)
def _document(api: NinjaAPI, path_prefix: str) -> OpenAPISchema:
    document = NinjaAPI.get_openapi_schema(api, path_prefix=path_prefix)
    document["components"]["schemas"]["Error"] = ERROR_SCHEMA
    for verbs in document["paths"].values():
        for operation in verbs.values():
            operation["responses"]["default"] = ERROR_ANSWER
    return document
