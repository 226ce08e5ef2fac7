import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Job, Prediction, Role, Worker
from tests.comparison_data import make_finished_experiment
from tests.factories import make_approach, make_experiment, make_job, make_membership, make_run, make_user, make_workspace

LISTS = ["job", "attempt", "worker", "run", "evaluation", "prediction", "experiment", "datasetversion", "backbone", "artifact", "workspace"]
LISTS += ["auditentry", "membership", "apikey", "user"]


def path_of(name: str) -> str:
    return reverse(f"admin:experiments_{name}_changelist")


@pytest.fixture
def staff(client_for, workspace):
    user = make_user("staff@example.com", is_staff=True)
    make_membership(workspace, user, Role.ML_ENGINEER)
    return client_for(user)


@pytest.fixture
def superuser(client_for, db):
    return client_for(make_user("root@example.com", is_staff=True, is_superuser=True))


@pytest.fixture
def finished(workspace):
    return make_finished_experiment(workspace, num_validation=12)


def test_every_list_and_page_opens(staff, superuser, finished):
    for name in LISTS:
        page = superuser.get(path_of(name))
        assert page.status_code == staff.get(path_of(name)).status_code == 200, name
        for link in re.findall(rf'href="(/admin/experiments/{name}/[^"/]+/change/)', page.content.decode())[:1]:
            assert superuser.get(link).status_code == 200, link


def test_member_without_the_staff_mark_is_kept_out(client_for, alice, workspace):
    assert client_for(alice).get("/admin/").status_code in (302, 403)
    assert client_for(alice).get(path_of("job")).status_code in (302, 403)


def test_staff_sees_only_workspaces_of_their_own(staff, superuser):
    foreign = make_job(make_workspace("canary-space"))
    page = f"/admin/experiments/job/{foreign.pk}/change/"

    assert "Canary-Space" not in staff.get(path_of("job")).content.decode()
    assert staff.get(page).status_code == 302
    assert superuser.get(page).status_code == 200


def test_staff_without_a_superusers_power_sees_no_accounts_and_no_keys(staff, charlie):
    assert "charlie@example.com" not in staff.get(path_of("user")).content.decode()
    assert staff.get(reverse("admin:experiments_user_change", args=[charlie.pk])).status_code == 302


@pytest.mark.parametrize("name", LISTS)
def test_nothing_is_added_or_deleted_here(superuser, name):
    assert superuser.get(path_of(name) + "add/").status_code == 403
    assert "delete_selected" not in superuser.get(path_of(name)).content.decode()


def test_engineer_stops_a_queued_job(staff, workspace):
    job = make_job(workspace, kind="inspect")

    staff.post(path_of("job"), {"action": "cancel", "_selected_action": [str(job.pk)]})

    assert Job.objects.get(pk=job.pk).state == "cancelled"


def test_engineer_tries_a_job_again_that_was_set_aside(staff, workspace):
    run = make_run(make_approach(make_experiment(workspace)), state="quarantined")

    staff.post(path_of("job"), {"action": "retry", "_selected_action": [str(run.job_id)]})

    assert Job.objects.get(pk=run.job_id).state == "queued"


def test_sound_job_cannot_be_tried_again_and_the_person_is_told(staff, workspace):
    job = make_job(workspace, kind="inspect", state="succeeded")

    page = staff.post(path_of("job"), {"action": "retry", "_selected_action": [str(job.pk)]}, follow=True).content.decode()

    assert "set aside starts again" in page
    assert Job.objects.get(pk=job.pk).state == "succeeded"


def test_staff_with_a_viewers_role_may_look_and_not_act(client_for, workspace):
    user = make_user("looker@example.com", is_staff=True)
    make_membership(workspace, user, Role.VIEWER)
    job = make_job(workspace, kind="inspect")

    page = client_for(user).post(path_of("job"), {"action": "cancel", "_selected_action": [str(job.pk)]}, follow=True).content.decode()

    assert "ML engineer" in page
    assert Job.objects.get(pk=job.pk).state == "queued"


def test_jobs_of_other_workspaces_cannot_be_acted_on(staff):
    job = make_job(make_workspace("other"))

    staff.post(path_of("job"), {"action": "cancel", "_selected_action": [str(job.pk)]})

    assert Job.objects.get(pk=job.pk).state == "queued"


def test_admin_has_no_sign_in_form_of_its_own(db):
    answer = Client().get("/admin/login/", follow=True)

    assert answer.redirect_chain[-1][0].startswith("/accounts/login/")


def test_prediction_list_counts_no_table_and_takes_few_queries(staff, finished):
    with CaptureQueriesContext(connection) as seen:
        staff.get(path_of("prediction"))
    counts = [query["sql"] for query in seen.captured_queries if "COUNT(" in query["sql"] and "experiments_prediction" in query["sql"]]

    assert Prediction.objects.count() > 50
    assert all("LIMIT" in sql for sql in counts)
    assert len(seen) <= 10


def test_no_list_takes_a_query_per_row(staff, finished):
    Worker.objects.create(name="w1", queue="gpu", started_at="2026-01-01T00:00Z", seen_at="2026-01-01T00:00Z")

    for name in LISTS:
        with CaptureQueriesContext(connection) as seen:
            staff.get(path_of(name))
        assert len(seen) <= 10, name


def test_pages_carry_no_inline_script_or_style(superuser, finished):
    for page in ["/admin/", path_of("job"), f"/admin/experiments/job/{Job.objects.earliest('created_at').pk}/change/", path_of("user")]:
        html = superuser.get(page).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", html)
        assert not re.search(r"<style|\sstyle=|\son(click|load|submit|change)=", html)
