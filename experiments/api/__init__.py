"""The REST API under /api/v1, for workspace keys only."""

from ninja import NinjaAPI

api = NinjaAPI(title="PromptLab", version="1.0.0", urls_namespace="api", docs_url=None)
