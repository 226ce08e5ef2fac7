"""The REST API under /api/v1, for workspace keys only. One file of operations per noun; `routes` is what the URLconf mounts."""

from experiments.api import backbones, datasets, experiments, explanations, feedback, prices, prompts, reports, second_rounds, teaching
from experiments.api.auth import KeyThrottle, WorkspaceKey
from experiments.api.document import WorkspaceAPI
from experiments.api.errors import handlers_attach

api = WorkspaceAPI(title="PromptLab", version="1.0.0", urls_namespace="api", docs_url=None, auth=WorkspaceKey(), throttle=KeyThrottle())
for noun in (datasets, prompts, backbones, prices, experiments, explanations, teaching, second_rounds, feedback, reports):
    api.add_router("", noun.router)
handlers_attach(api)
