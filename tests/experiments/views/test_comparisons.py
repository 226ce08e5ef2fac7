"""The pages of a comparison that has ended: they work, and refuse strangers and wrong verbs."""

import pytest
from django.urls import reverse

from experiments.models import Approach, Experiment, Job, JobKind, JobState, TestOpening
from experiments.reads.learning_curves import build_learning_curve
from experiments.reads.reports import build_table
from experiments.services.experiments import comparison_store
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book
from tests.curve_data import make_drawn_curve

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def made(make_once):
    return make_once(lambda workspace: make_finished_experiment(workspace, num_test=30, price_book=make_price_book(workspace)))


@pytest.fixture
def finished(made):
    return Experiment.objects.get(pk=made.pk)


def address(name, experiment, **query):
    return reverse(name, args=["acme", experiment.pk], query=query or None)


def test_viewer_may_read_but_not_set_up_or_open(client_for, bob, finished):
    client = client_for(bob)

    assert client.get(address("comparison-detail", finished)).status_code == 200
    assert client.get(reverse("comparison-create", args=["acme"])).status_code == 403
    assert client.post(address("comparison-open-test", finished)).status_code == 403
    assert client.post(address("comparison-cancel", finished)).status_code == 403


@pytest.mark.parametrize("name", ["comparison-detail", "comparison-state", "comparison-table", "comparison-examples"])
def test_stranger_gets_404(client_for, charlie, finished, name):
    assert client_for(charlie).get(address(name, finished)).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        "comparison-open-test",
        "comparison-cancel",
        "comparison-compute",
        "comparison-latency",
        "comparison-baseline",
        "comparison-prices",
        "comparison-go-on",
    ],
)
def test_change_refuses_get_and_strangers(client_for, alice, charlie, finished, name):
    assert client_for(alice).get(address(name, finished)).status_code == 405
    assert client_for(charlie).post(address(name, finished)).status_code == 404


def test_address_of_another_workspace_gives_404(client_for, alice, finished):
    factories.make_workspace("second", owner=alice)

    assert client_for(alice).get(reverse("comparison-detail", args=["second", finished.pk])).status_code == 404


def test_another_axis_of_the_training_charts_keeps_the_split(client_for, alice, finished):
    page = client_for(alice).get(address("comparison-detail", finished, split="validation", curves="seconds")).content.decode()

    assert '<a href="?split=validation&amp;curves=step#training" >by step</a>' in page
    assert '<a href="?split=validation&amp;curves=seconds#training" aria-current="true">by seconds</a>' in page


@pytest.mark.parametrize(("rows", "is_said"), [(20, True), (512, False)])
def test_training_charts_say_on_how_many_validation_rows_the_looks_were_made(client_for, alice, finished, rows, is_said):
    for approach in finished.approaches.filter(family__in=["tuned", "hybrid"]):
        Approach.objects.filter(pk=approach.pk).update(recipe=approach.recipe | {"validation_rows": rows})

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert ("Looks at 20 validation rows; the results count all of them." in page) is is_said


def test_page_shows_every_figure_of_the_table(client_for, alice, finished):
    page = client_for(alice).get(address("comparison-detail", finished, split="validation")).content.decode()

    for words in ["LoRA", "of 60", "Against baseline", "Macro-F1", "1 error", "seed 0; 2 seeds from", "1.2 M", "Context", "Computed", "€"]:
        assert words in page, words
    assert "Pareto front" in page
    assert "What is taken for what" in page


@pytest.mark.parametrize(("split", "is_said"), [("validation", True), ("test", False)])
def test_several_looks_of_a_tuned_approach_are_said_below_its_validation_figures(client_for, bob, finished, split, is_said):
    page = client_for(bob).get(address("comparison-table", finished, split=split)).content.decode()

    assert ("keeps its best step of several looks at validation rows" in page) is is_said


def test_sorting_follows_the_address_and_ignores_nonsense(client_for, alice, finished):
    client = client_for(alice)

    best_first = client.get(address("comparison-table", finished, sort="accuracy")).content.decode()
    worst_first = client.get(address("comparison-table", finished, sort="accuracy", turn="1")).content.decode()
    planned = client.get(address("comparison-table", finished, sort="no_such__lookup")).content.decode()

    assert best_first.index("LoRA") < best_first.index("Most frequent label")
    assert worst_first.index("LoRA") > worst_first.index("Most frequent label")
    assert 'aria-sort="descending"' in best_first
    assert "aria-sort" not in planned


def test_costs_without_prices_are_unknown_never_zero(client_for, alice, workspace):
    experiment = make_finished_experiment(workspace)

    page = client_for(alice).get(address("comparison-detail", experiment)).content.decode()

    assert "unknown" in page
    assert "$0" not in page


def test_polled_part_asks_for_the_whole_page_once_a_table_has_come(client_for, alice, finished):
    answer = client_for(alice).get(address("comparison-state", finished, stamp=""))

    assert answer["HX-Refresh"] == "true"


def test_test_set_is_opened_by_the_button(client_for, alice, workspace):
    experiment = make_finished_experiment(workspace, num_test=12)
    TestOpening.objects.all().delete()
    experiment.tables.filter(split="test").delete()

    page = client_for(alice).get(address("comparison-detail", experiment)).content.decode()
    answer = client_for(alice).post(address("comparison-open-test", experiment))

    assert "Nobody has opened the test rows of this data yet" in page
    assert answer.url == address("comparison-detail", experiment)
    assert TestOpening.objects.get().opened_by == alice


BUSY = "the machine was busy: other programs used 9.1 of 2 cores"


def test_why_latency_is_withheld_stands_once_on_the_page_and_once_in_a_report(client_for, alice, finished):
    table = finished.tables.get(split="test")
    for row in table.payload["rows"]:
        row["latency"] = {"rows": 0, "p50_ms": None, "p95_ms": None, "withheld": BUSY}
    table.payload["latency"] |= {"withheld": BUSY}
    table.save()

    for name in ("comparison-detail", "report-create"):
        page = client_for(alice).get(address(name, finished)).content.decode()

        assert f"Latency withheld: {BUSY}." in page
        assert page.count(BUSY) == 1, "nothing repeats it"


def test_latency_that_one_approach_lacks_is_told_in_the_sentence_about_the_others(client_for, alice, finished):
    table = finished.tables.get(split="test")
    table.payload["rows"][0]["latency"] = {"rows": 0, "p50_ms": None, "p95_ms": None, "withheld": "no row fits"}
    table.save()

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert "cores); withheld where the table has none: no row fits." in page
    assert page.count("no row fits") == 1


def test_computed_tokens_above_the_context_are_explained_where_they_stand(client_for, alice, finished):
    table = finished.tables.get(split="test")
    before = client_for(alice).get(address("comparison-detail", finished)).content.decode()
    table.payload["rows"][0]["tokens"] |= {"context": 30.7, "computed": 31.7}
    table.save()

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert page.count("the model runs the words of every label") == 1
    assert "the model runs the words of every label" not in before


def test_costs_stand_with_their_range_or_as_one_measurement(client_for, alice, finished):
    table = finished.tables.get(split="test")
    best, other = (next(row for row in table.payload["rows"] if row["name"] == name) for name in ("LoRA", "Hybrid"))
    best["cost"] |= {"per_thousand": "0.3", "low": "0.2", "high": "0.5", "passes": 3}
    other["cost"] |= {"per_thousand": "0.4", "low": "0.4", "high": "0.4", "passes": 1}
    table.payload["best"] = best["approach"]
    table.save()

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert "€0.20 to €0.50 in 3 measurements of speed" in page
    assert page.count("1 measurement<") == 1


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (JobState.RUNNING, "Latency has not been measured yet: that starts by itself when everything else has ended."),
        (JobState.CANCELLED, "Latency has not been measured: where runs were stopped, it is measured on request only."),
        (JobState.SUCCEEDED, "Latency has not been measured."),
    ],
)
def test_latency_that_nobody_measured_is_told_once_with_when_it_will_be(client_for, alice, workspace, state, said):
    experiment = make_finished_experiment(workspace)
    table = experiment.tables.get()
    table.payload |= {"latency": None, "rows": [{**row, "latency": None} for row in table.payload["rows"]]}
    table.save()
    Job.objects.filter(run=experiment.approaches.get(name="LoRA").runs.first()).update(state=state)

    page = client_for(alice).get(address("comparison-detail", experiment)).content.decode()

    assert said in page
    assert page.count("easured once") + page.count("not measured") + page.count("not been measured") == 1


def test_another_baseline_is_chosen_computed_anew_and_said(client_for, alice, finished):
    client, ended = client_for(alice), finished.finished_at
    lora = finished.approaches.get(name="LoRA")

    client.post(address("comparison-baseline", finished), {"approach": str(lora.pk)})

    waiting = Job.objects.filter(kind=JobKind.COMPARE)
    assert sorted(job.payload["split"] for job in waiting) == ["test", "validation"]
    for split in ("validation", "test"):
        finished.refresh_from_db()
        comparison_store(experiment=finished, split=split, payload=build_table(finished, split), job=None)
    waiting.update(state=JobState.SUCCEEDED)
    page = client.get(address("comparison-detail", finished)).content.decode()
    assert "the others are measured against it, as chosen" in page
    assert "the best written prompt," not in page
    table = finished.tables.get(split="test").payload
    assert [row["name"] for row in table["rows"] if row["delta"] is None] == ["LoRA"]
    finished.refresh_from_db()
    assert finished.finished_at == ended, "the comparison itself did not end again"

    client.post(address("comparison-baseline", finished), {"approach": ""})
    assert waiting.filter(state=JobState.QUEUED).count() == 2
    finished.refresh_from_db()
    assert build_table(finished, "test")["baseline_chosen"] is False


def test_prices_are_chosen_afterwards_once_and_what_rests_on_them_is_computed_anew(client_for, alice, finished, workspace):
    book, other = finished.price_book, make_price_book(workspace, name="Other")
    Experiment.objects.filter(pk=finished.pk).update(price_book=None)
    finished.refresh_from_db()
    for split in ("validation", "test"):
        comparison_store(experiment=finished, split=split, payload=build_table(finished, split), job=None)
    client = client_for(alice)
    page = client.get(address("comparison-detail", finished)).content.decode()
    assert "Costs are unknown" in page
    assert f'action="{address("comparison-prices", finished)}"' in page

    for chosen in (book, book, other):
        client.post(address("comparison-prices", finished), {"price_book": str(chosen.pk)})

    finished.refresh_from_db()
    assert finished.price_book == book
    waiting = Job.objects.filter(kind=JobKind.COMPARE)
    assert sorted(job.payload["split"] for job in waiting) == ["test", "validation"]
    page = client.get(address("comparison-detail", finished)).content.decode()
    assert "This comparison reckons with the prices Cloud 2026" in page
    assert "are being computed" in page
    assert build_table(finished, "test")["money"]["book"]["name"] == "Cloud 2026"


def test_a_drawn_learning_curve_gets_the_prices_too(client_for, alice, finished):
    book = finished.price_book
    Experiment.objects.filter(pk=finished.pk).update(price_book=None)
    finished.refresh_from_db()
    curve = make_drawn_curve(finished)

    client_for(alice).post(address("comparison-prices", finished), {"price_book": str(book.pk)})

    assert Job.objects.filter(kind=JobKind.COMPARE, payload__experiment=str(curve.pk)).count() == 1
    assert build_learning_curve(curve)["currency"] == "EUR"


def test_prices_of_another_workspace_are_not_taken(client_for, alice, finished):
    foreign = make_price_book(factories.make_workspace("second"))
    Experiment.objects.filter(pk=finished.pk).update(price_book=None)

    assert client_for(alice).post(address("comparison-prices", finished), {"price_book": str(foreign.pk)}).status_code == 404


def test_an_approach_of_another_comparison_is_no_baseline(client_for, alice, finished, workspace):
    foreign = factories.make_approach(factories.make_experiment(workspace, dataset_version=finished.dataset_version))

    assert client_for(alice).post(address("comparison-baseline", finished), {"approach": str(foreign.pk)}).status_code == 404


def test_comparison_that_could_not_be_computed_is_tried_again(client_for, alice, finished):
    job = factories.make_job(
        finished.workspace,
        kind="compare",
        queue="io",
        state="failed",
        error="The disk is full.",
        idempotency_key=f"compare:{finished.pk}:test:1",
    )
    client = client_for(alice)

    page = client.get(address("comparison-state", finished)).content.decode()
    client.post(address("comparison-compute", finished))

    assert "The disk is full." in page
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED


def test_missing_results_of_one_split_are_told_though_the_other_came_later(client_for, alice, finished):
    finished.tables.filter(split="validation").delete()
    for split, state in (("validation", "failed"), ("test", "succeeded")):
        key = f"compare:{finished.pk}:{split}:1"
        payload = {"experiment": str(finished.pk), "split": split}
        error = "The disk is full." if state == "failed" else ""
        factories.make_job(finished.workspace, kind="compare", queue="io", state=state, error=error, idempotency_key=key, payload=payload)

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert "The results on the validation rows could not be computed. The disk is full." in page
    assert "Compare again" in page


def test_failed_first_comparison_is_never_called_nothing_to_compare(client_for, alice, workspace):
    experiment = make_finished_experiment(workspace)
    experiment.tables.all().delete()
    key, payload = f"compare:{experiment.pk}:validation:1", {"experiment": str(experiment.pk), "split": "validation"}
    job = factories.make_job(workspace, kind="compare", queue="io", state="failed", idempotency_key=key, payload=payload)
    Job.objects.filter(pk=job.pk).update(error="The disk is full.")

    page = client_for(alice).get(address("comparison-detail", experiment)).content.decode()

    assert "No run has succeeded" not in page
    assert "The disk is full." in page


def test_latency_is_measured_again_by_one_click_and_the_page_follows(client_for, alice, finished):
    client = client_for(alice)

    before = client.get(address("comparison-detail", finished)).content.decode()
    answer = client.post(address("comparison-latency", finished))
    during = client.get(address("comparison-detail", finished)).content.decode()

    job = Job.objects.get(kind=JobKind.LATENCY)
    assert answer.url == address("comparison-detail", finished)
    assert "Measure latency" in before
    assert "Measuring latency: waiting for its turn" in during
    assert "every 2s" in during
    assert "Measure latency</button>" not in during
    assert (job.queue, job.payload) == ("gpu", {"experiment": str(finished.pk)})


def test_the_bar_shows_how_far_the_latency_pass_is_and_only_moves_while_it_waits(client_for, alice, finished):
    progress = {"phase": "timing", "rows": 440, "rows_total": 1800}
    job = factories.make_job(finished.workspace, kind="latency", idempotency_key=f"latency:{finished.pk}:1", progress=progress)
    client = client_for(alice)

    waiting = client.get(address("comparison-state", finished)).content.decode()
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING)
    running = client.get(address("comparison-state", finished)).content.decode()

    assert '<progress aria-label="Measuring latency: waiting for its turn" ></progress>' in waiting
    assert '<progress aria-label="Measuring latency: timing, request 440 of 1,800" value="440" max="1800"></progress>' in running


def test_failed_latency_pass_says_why_and_can_be_repeated(client_for, alice, finished):
    key = f"latency:{finished.pk}:1"
    factories.make_job(finished.workspace, kind="latency", state="failed", error="The model is gone.", idempotency_key=key)

    page = client_for(alice).get(address("comparison-detail", finished)).content.decode()

    assert "Latency could not be measured. The model is gone." in page
    assert "Measure latency</button>" in page


def test_run_page_works_and_refuses_strangers(client_for, alice, charlie, finished):
    run = finished.approaches.get(method="lora").runs.first()
    place = reverse("run-detail", args=["acme", run.pk])

    page = client_for(alice).get(place).content.decode()

    assert "Right on validation rows" in page
    assert "learning_rate" in page
    assert client_for(charlie).get(place).status_code == 404
    assert client_for(alice).get(reverse("run-cancel", args=["acme", run.pk])).status_code == 405
    assert client_for(charlie).post(reverse("run-cancel", args=["acme", run.pk])).status_code == 404


def test_cancelling_an_ended_run_says_so(client_for, alice, finished):
    run = finished.approaches.get(method="lora").runs.first()

    page = client_for(alice).post(reverse("run-cancel", args=["acme", run.pk]), follow=True).content.decode()

    assert "This has ended already" in page
