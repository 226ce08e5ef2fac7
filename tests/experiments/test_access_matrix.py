"""Every address of the URLconf, every verb, every kind of caller who has no business there: no leak, no change, no server error.

A route that is added must be put into one of the tables below, or the first test fails.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from experiments.models import Artifact, DatasetVersion, Membership, Preview, Role
from experiments.services.invitations import invitation_create
from experiments.services.keys import api_key_create, api_key_revoke
from experiments.services.reports import report_create, share_create, share_revoke
from experiments.storage import store_bytes
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book

QUICK = ["get", "post"]
OTHERS = ["head", "put", "patch", "delete", "options"]
SAFE = {"get", "head", "options"}
CANARY = "canary"


def names(text: str) -> list[str]:
    return text.split()


# A member of any role may look; nobody else may, and a viewer's unsafe verbs are refused.
READ = names("""
    workspace-overview workspace-activity dataset-list dataset-detail dataset-version-detail dataset-version-progress
    dataset-version-download prompt-list prompt-detail preview-detail preview-state comparison-list comparison-detail
    comparison-state comparison-table comparison-examples report-detail report-csv report-json run-detail run-state run-explanation
    run-teaching run-trials learning-curve run-mistakes run-mistakes-state
    library family-list backbone-detail backbone-state artifact-download workspace-settings price-list share-list
""")
# A viewer is refused whatever the verb.
WRITE = names("""
    dataset-create dataset-edit dataset-version-create dataset-version-map dataset-version-divide dataset-version-retry
    dataset-version-discard prompt-create prompt-preview prompt-try prompt-promote prompt-edit prompt-rename comparison-create
    comparison-estimate comparison-open-test comparison-cancel comparison-compute comparison-latency comparison-baseline comparison-go-on
    report-create share-revoke dataset-delete prompt-delete comparison-delete run-cancel run-retry backbone-create backbone-verify
    member-invite member-role member-remove invitation-withdraw api-key-list api-key-create api-key-revoke price-create price-delete
    audit-list run-explain run-teach
    share-create backbone-edit comparison-budget comparison-prices learning-curve-create
    run-mistakes-find second-round-create answer-mark
""")
# Workspace keys only.
KEY = names("""
    dataset_list dataset_create dataset_detail dataset_version_create dataset_version_detail dataset_version_map
    dataset_version_wait example_list prompt_list prompt_create prompt_detail prompt_version_create prompt_version_promote
    backbone_list backbone_create backbone_detail backbone_verify price_book_list price_book_create experiment_list
    experiment_create experiment_detail experiment_launch experiment_wait experiment_results experiment_open_test
    experiment_baseline experiment_cancel run_retry report_list report_create report_detail report_json_file report_csv_file
    share_list share_create share_revoke run_explanation run_explain run_answers run_answer experiment_budget
    backbone_change
    experiment_latency experiment_compute experiment_prices experiment_go_on run_cancel run_trials
    dataset_delete prompt_delete experiment_delete
    learning_curve_create learning_curve_detail
    run_mistakes run_mistakes_find second_round_create feedback_list feedback_create feedback_delete
""")
# Anybody signed in, about themselves.
OWN = ["home", "workspace-create"]
# Anybody at all; what these show depends on a token or is the same for everybody.
PUBLIC = ["health", "sign-in", "invitation-accept", "share-open", "share-csv", "", "api:openapi-json", "api:api-root", "api:nothing-here"]
ACCESS = {
    **dict.fromkeys(READ, "read"),
    **dict.fromkeys(WRITE, "write"),
    **{f"api:{name}": "key" for name in KEY},
    **dict.fromkeys(OWN, "own"),
    **dict.fromkeys(PUBLIC, "public"),
}


@dataclass(frozen=True)
class Route:
    pattern: str
    name: str

    @property
    def access(self) -> str | None:
        if self.pattern.startswith("admin/"):
            return "staff"
        if self.pattern.startswith("accounts/"):
            return "account"
        return ACCESS.get(self.name)

    @property
    def has_id(self) -> bool:
        return "_id>" in self.pattern


def routes(patterns: list[Any] | None = None, prefix: str = "", namespace: str = "") -> Iterator[Route]:
    for each in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(each, URLResolver):
            yield from routes(each.url_patterns, prefix + str(each.pattern), f"{each.namespace}:" if each.namespace else namespace)
        elif isinstance(each, URLPattern):
            yield Route(prefix + str(each.pattern), namespace + (each.name or ""))


@dataclass
class Victim:
    """A workspace full of nouns whose texts hold the canary, and what stands for each slot of an address."""

    ids: dict[str, Any] = field(default_factory=dict)

    def address(self, route: Route) -> str:
        def value(found: re.Match[str]) -> str:
            name = found[1]
            if name == "version_id" and "prompt" in route.pattern:
                name = "template_version_id"
            return str(self.ids.get(name, "x"))

        plain = re.sub(r"\(\?P<(\w+)>[^)]*\)", value, route.pattern.replace("^", "").replace("$", ""))
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", value, plain)


@pytest.fixture
def victim(alice, bob, workspace) -> Victim:
    cache.clear()
    type(workspace).objects.filter(pk=workspace.pk).update(name="CANARY space")
    experiment = make_finished_experiment(workspace, num_validation=6, seeds=(0,), num_runs=3)
    for noun in (experiment, experiment.dataset_version.dataset, *workspace.prompt_templates.all()):
        type(noun).objects.filter(pk=noun.pk).update(name=f"CANARY {noun.pk}")
    DatasetVersion.objects.filter(pk=experiment.dataset_version_id).update(source_sha256=store_bytes(b"CANARY")[0])
    template_version = factories.make_template_version(workspace, name="CANARY prompt", user="CANARY {{text}}")
    run = experiment.approaches.earliest("position").runs.get()
    run.result = {"learned_tokens": {"mean_word_norm": 1.0, "tokens": []}}
    run.save(update_fields=["result"])
    artifact = Artifact.objects.filter(run__approach__experiment=experiment).first() or Artifact.objects.create(
        run=run, attempt=run.job.attempts.get(), files={}, manifest={}, num_bytes=1
    )
    factories.make_feedback(run, by=alice, note="CANARY note")
    backbone = factories.make_backbone(workspace, name="CANARY model", kind="local", source="/models/CANARY")
    report = report_create(experiment=experiment, by=alice, title="CANARY report")
    share, token = share_create(report=report, by=alice)
    share_revoke(share=share, by=alice)
    live, _ = share_create(report=report, by=alice)
    invitation, _ = invitation_create(workspace=workspace, email="CANARY@example.com", role=Role.VIEWER, by=alice)
    key, _ = api_key_create(workspace=workspace, name="CANARY key", role=Role.VIEWER, by=alice)
    preview = factories.make_job(workspace, kind="preview", queue="interactive")
    ids = {
        "slug": workspace.slug,
        "token": token,
        "rest": "a/b",
        "url": "nothing/",
        "object_id": experiment.pk,
        "content_type_id": 1,
        "dataset_id": experiment.dataset_version.dataset_id,
        "version_id": experiment.dataset_version_id,
        "template_version_id": template_version.pk,
        "template_id": template_version.template_id,
        "prompt_id": template_version.template_id,
        "preview_id": _preview(preview, experiment, backbone).pk,
        "experiment_id": experiment.pk,
        "run_id": run.pk,
        "position": 1,
        "row": 1,
        "report_id": report.pk,
        "share_id": live.pk,
        "backbone_id": backbone.pk,
        "artifact_id": artifact.pk,
        "membership_id": Membership.objects.get(user=bob).pk,
        "invitation_id": invitation.pk,
        "key_id": key.pk,
        "book_id": make_price_book(workspace, name="CANARY prices").pk,
    }
    return Victim(ids)


def _preview(job, experiment, backbone):
    return Preview.objects.create(
        dataset_version=experiment.dataset_version, backbone=backbone, wording={"user": "CANARY {{text}}"}, examples=[], job=job
    )


@contextmanager
def writes() -> Iterator[list[str]]:
    """The statements that change rows; sessions are no noun."""
    seen: list[str] = []

    def note(execute, sql, params, many, context):
        if re.match(r"\s*(INSERT|UPDATE|DELETE|REPLACE)\b", sql, re.IGNORECASE) and "django_session" not in sql:
            seen.append(sql[:120])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def probe(client: Client, victim: Victim, verbs: list[str], *, skip: str = "") -> Iterator[tuple[Route, str, Any, list[str]]]:
    """Ask for every route with every verb; what no caller may ever see or cause is checked here."""
    # Operations of the API that share an address answer its verbs together, so an address is asked once.
    for route in {route.pattern: route for route in routes()}.values():
        for verb in verbs:
            if skip and re.match(skip, route.pattern):
                continue
            where = f"{verb} {route.pattern}"
            with writes() as written:
                body = (
                    {"data": "{}", "content_type": "application/json"} if route.access == "key" and verb in ("post", "put", "patch") else {}
                )
                answer = getattr(client, verb)(victim.address(route), **body)
            content = b"".join(answer.streaming_content) if answer.streaming else answer.content
            assert answer.status_code < 500, where
            assert not (verb in SAFE and written), (where, written)
            answer.text_body = content.decode("utf-8", "replace").lower()
            yield route, verb, answer, written


def with_key(clear: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {clear}"}, raise_request_exception=False)


def by_speed(*verbs: list[str]):
    return pytest.mark.parametrize("verbs", [pytest.param(QUICK, id="get-post"), pytest.param(OTHERS, id="others", marks=pytest.mark.slow)])


def test_every_route_is_classified():
    found = {route.name for route in routes() if route.access is None}
    known = {route.name for route in routes()}

    assert not found, f"put these routes into a table of this file: {sorted(found)}"
    assert not set(ACCESS) - known, f"these routes are gone: {sorted(set(ACCESS) - known)}"


@by_speed()
def test_nobody_signed_out_sees_or_changes_anything(victim, verbs):
    for route, verb, answer, written in probe(Client(raise_request_exception=False), victim, verbs):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert CANARY not in answer.text_body, where
        assert not written, (where, written)
        if route.access in ("read", "write", "own", "staff"):
            assert answer.status_code == 302, where
            assert answer["Location"].startswith(("/accounts/login/", "/admin/login/")), where
        if route.access == "key":
            assert answer.status_code in (401, 405), where


@by_speed()
def test_stranger_finds_nothing(victim, verbs, client_for, charlie):
    for route, verb, answer, written in probe(client_for(charlie), victim, verbs, skip="accounts/(logout|email|password)"):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert CANARY not in answer.text_body, where
        assert not written, (where, written)
        if route.access in ("read", "write"):
            assert answer.status_code in (404, 405), where
        if route.access == "staff":
            assert answer.status_code in (302, 403), where
        if route.access == "key":
            assert answer.status_code in (401, 405), where


@by_speed()
def test_viewer_reads_and_changes_nothing(victim, verbs, client_for, bob):
    for route, verb, answer, written in probe(client_for(bob), victim, verbs, skip="accounts/(logout|email|password)|s/"):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert not written, (where, written)
        if route.access == "read":
            assert answer.status_code in ((200, 302, 286) if verb in ("get", "head") else (403, 405)), where
        if route.access == "write":
            assert answer.status_code in (403, 405), where
        if route.access == "staff":
            assert answer.status_code in (302, 403), where
        if route.access == "key":
            assert answer.status_code in (401, 405), where


@by_speed()
def test_key_of_another_workspace_finds_nothing(victim, verbs, alice, charlie):
    _, clear = api_key_create(workspace=charlie.memberships.get().workspace, name="theirs", role=Role.ML_ENGINEER, by=charlie)
    caller = with_key(clear)
    caller.get("/api/v1/backbones")  # the day of use is written once

    for route, verb, answer, written in probe(caller, victim, verbs, skip="admin/|accounts/|s/"):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert CANARY not in answer.text_body, where
        assert not written, (where, written)
        if route.access in ("read", "write", "own"):
            assert answer.status_code == 302, where
        if route.access == "key":
            assert answer.status_code in ((404, 405, 422) if route.has_id else (200, 405, 422)), where
            assert not (route.has_id and answer.status_code == 422 and verb in SAFE), where


@by_speed()
def test_revoked_key_opens_nothing(victim, verbs, alice, workspace):
    key, clear = api_key_create(workspace=workspace, name="old", role=Role.ML_ENGINEER, by=alice)
    api_key_revoke(key=key, by=alice)

    for route, verb, answer, written in probe(with_key(clear), victim, verbs, skip="admin/|accounts/|s/|w/"):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert CANARY not in answer.text_body, where
        assert not written, (where, written)
        if route.access == "key":
            assert answer.status_code in (401, 405, 429), where


@by_speed()
def test_viewers_key_reads_and_changes_nothing(victim, verbs, alice, workspace):
    _, clear = api_key_create(workspace=workspace, name="reader", role=Role.VIEWER, by=alice)
    caller = with_key(clear)
    caller.get("/api/v1/backbones")

    for route, verb, answer, written in probe(caller, victim, verbs, skip="admin/|accounts/|s/|w/"):
        where = f"{verb} {route.pattern}: {answer.status_code}"
        assert not written, (where, written)
        if route.access == "key" and verb not in SAFE:
            assert answer.status_code in (403, 405, 422), where
