"""The nouns, a file per group. Fields, constraints and small derived values only; every change happens in `experiments.services`."""

from experiments.models.accounts import ApiKey, AuditEntry, Invitation, Membership, Role, User, Workspace
from experiments.models.backbones import Backbone
from experiments.models.comparisons import Approach, ComparisonTable, Experiment, Preview, Run
from experiments.models.datasets import Dataset, DatasetVersion, Example, RowFinding, Split, TestOpening
from experiments.models.endpoints import CallState, EndpointCall, EndpointKey
from experiments.models.feedback import Feedback, Verdict
from experiments.models.jobs import Attempt, Job, JobKind, JobState, Queue, Worker
from experiments.models.pricing import PriceBook
from experiments.models.prompts import PromptTemplate, TemplateAlias, TemplateVersion
from experiments.models.reports import Report, Share
from experiments.models.results import Artifact, Evaluation, Focus, Prediction, Score, Trial

__all__ = [
    "ApiKey",
    "Approach",
    "Artifact",
    "Attempt",
    "AuditEntry",
    "Backbone",
    "CallState",
    "ComparisonTable",
    "Dataset",
    "DatasetVersion",
    "EndpointCall",
    "EndpointKey",
    "Evaluation",
    "Example",
    "Experiment",
    "Feedback",
    "Focus",
    "Invitation",
    "Job",
    "JobKind",
    "JobState",
    "Membership",
    "Prediction",
    "Preview",
    "PriceBook",
    "PromptTemplate",
    "Queue",
    "Report",
    "Role",
    "RowFinding",
    "Run",
    "Score",
    "Share",
    "Split",
    "TemplateAlias",
    "TemplateVersion",
    "TestOpening",
    "Trial",
    "User",
    "Verdict",
    "Worker",
    "Workspace",
]
