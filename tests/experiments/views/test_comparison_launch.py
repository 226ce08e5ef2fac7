"""The form of a comparison, its launch, and the page while runs go on."""

import re
from datetime import date

import pytest
from django.urls import reverse

from experiments.catalogue.kinds import BASELINE
from experiments.catalogue.recipes import CATALOGUE, PACK
from experiments.models import DatasetVersion, Experiment, Job, JobKind, JobState, PromptTemplate, TemplateVersion
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book

pytestmark = pytest.mark.django_db


@pytest.fixture
def ready(workspace):
    """A workspace in which a comparison can be set up, and the answers of its form."""
    version = factories.make_dataset_version(workspace)
    template = factories.make_template_version(workspace)
    backbone = factories.make_backbone()
    return {
        "name": "Which prompt?",
        "dataset_version": str(version.pk),
        "templates": [str(template.pk)],
        "backbone": str(backbone.pk),
        "recipes": ["zero_shot", "few_shot", "soft_prompt", "hybrid", "lora"],
        "seeds": "0, 1",
        "monthly_requests": "100000",
        "margin": "1",
        "too_long": "refuse",
        "key": "form-1",
    }


def address(name, experiment, **query):
    return reverse(name, args=["acme", experiment.pk], query=query or None)


def test_member_sees_the_form_with_the_pack_ticked(client_for, alice, ready):
    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()

    assert page.count("checked") == 6  # five approaches and the prompt
    assert "None: costs are shown as unknown" in page
    assert "0 to 2,000 tokens" in page


def test_the_usual_approaches_stand_open_and_every_other_one_is_folded(client_for, alice, ready):
    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()
    choices = page[page.index("<legend>Approaches") : page.index("</fieldset>", page.index("<legend>Approaches"))]
    standing = choices[: choices.index("<details")]

    assert re.findall(r'name="recipes" value="(\w+)"', standing) == list(PACK)
    assert "<details open" not in choices.replace('class="recipe" ', "")
    assert len(re.findall(r'name="recipes"', choices)) == sum(kind.family != BASELINE for kind in CATALOGUE.values())


def test_dials_are_not_marked_optional_one_by_one_where_a_sentence_says_so_of_all(client_for, alice, ready):
    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()
    advanced = page[page.index("Advanced: how each approach is made") : page.index('name="curve_when_finished"')]

    assert "An empty field keeps the default that stands in it." in advanced
    assert advanced.count('<label for="id_') > 100
    assert "optional</small>" not in advanced
    assert "optional</small>" in page.replace(advanced, "")


def test_free_answers_are_asked_about_only_where_there_is_data_for_them(client_for, alice, workspace, ready):
    address = reverse("comparison-create", args=["acme"])
    assert "how free answers are written" not in client_for(alice).get(address).content.decode()

    factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name="Cities"), task="extraction", labels=[])

    assert "how free answers are written" in client_for(alice).get(address).content.decode()


def test_older_versions_of_a_prompt_may_be_compared_and_only_the_newest_is_ticked(client_for, alice, ready):
    first = TemplateVersion.objects.get()
    second = factories.make_template_version(first.template.workspace, template=first.template)
    client = client_for(alice)

    page = client.get(reverse("comparison-create", args=["acme"])).content.decode()
    ticked = re.findall(r'name="templates" value="([^"]+)"[^>]* checked', page)
    assert f'value="{first.pk}"' in page
    assert ticked == [str(second.pk)]

    client.post(reverse("comparison-create", args=["acme"]), ready | {"templates": [str(first.pk)], "recipes": ["zero_shot"]})
    assert Experiment.objects.get().approaches.get(method="hard_prompt").template_version == first


def test_prompts_that_were_written_for_the_data_are_ticked_before_others_that_would_fit(client_for, alice, workspace, ready):
    data = DatasetVersion.objects.get().dataset
    own = factories.make_template_version(workspace, template=PromptTemplate.objects.create(workspace=workspace, name="Own", dataset=data))

    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()

    assert re.findall(r'name="templates" value="([^"]+)"[^>]* checked', page) == [str(own.pk)]
    assert "Own v1 (written for Support mail)" in page


@pytest.mark.parametrize("has_data", [True, False])
def test_a_prompt_leads_to_a_form_with_itself_ticked_and_its_data_chosen(client_for, alice, workspace, has_data):
    mail = factories.make_dataset_version(workspace)
    template = PromptTemplate.objects.create(workspace=workspace, name="Own", dataset=mail.dataset if has_data else None)
    own = factories.make_template_version(workspace, template=template)
    factories.make_template_version(workspace, template=template)
    cities = factories.make_dataset_version(workspace, dataset=factories.make_dataset(workspace, name="Cities"), columns=["city"])
    factories.make_template_version(workspace, name="Where", user="Where is {{city}}?")
    factories.make_backbone()
    client = client_for(alice)

    link = re.search(r'href="([^"]*/comparisons/new/[^"]*)"', client.get(f"/w/acme/prompts/{template.pk}/?version=1").content.decode())
    page = client.get(link.group(1)).content.decode()

    assert re.findall(r'name="templates" value="([^"]+)"[^>]* checked', page) == [str(own.pk)]
    assert re.search(rf'<option value="{mail.pk}"[^>]* selected', page)
    assert not re.search(rf'<option value="{cities.pk}"[^>]* selected', page)


@pytest.mark.parametrize("named", ["not-an-id", "00000000-0000-0000-0000-000000000000"])
def test_a_prompt_that_is_not_there_leads_to_no_form(client_for, alice, ready, named):
    assert client_for(alice).get(reverse("comparison-create", args=["acme"], query={"prompt": named})).status_code == 404


def test_a_prompt_of_two_steps_is_ticked_where_the_data_has_the_columns_of_both(client_for, alice, workspace, ready):
    step = {"text": "{{text}}", "max_tokens": 8, "stop": []}
    chain = factories.make_template_version(workspace, name="Two steps", user="Wish: {{step_1}}", first_step=step)
    other = factories.make_template_version(workspace, name="Other", user="Wish: {{step_1}}", first_step=step | {"text": "{{body}}"})

    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()

    ticked = re.findall(r'name="templates" value="([^"]+)"[^>]* checked', page)
    assert str(chain.pk) in ticked
    assert str(other.pk) not in ticked


def test_the_newest_prices_in_force_are_chosen_already(client_for, alice, workspace, ready):
    make_price_book(workspace, name="Old", effective_on=date(2020, 1, 1))
    current = make_price_book(workspace, name="Current", effective_on=date(2026, 1, 1))
    make_price_book(workspace, name="Next century", effective_on=date(2126, 1, 1))

    page = client_for(alice).get(reverse("comparison-create", args=["acme"])).content.decode()

    assert f'<option value="{current.pk}" selected>' in page


def test_missing_prices_are_written_down_in_another_tab_and_looked_for_from_the_form(client_for, alice, ready):
    form, estimate = reverse("comparison-create", args=["acme"]), reverse("comparison-estimate", args=["acme"])
    client = client_for(alice)

    for page in (client.get(form).content.decode(), client.post(estimate, ready).content.decode()):
        assert f'<a href="{reverse("price-create", args=["acme"])}" target="_blank"' in page
        assert f'hx-get="{form}"' in page


def test_launch_leads_to_the_comparison(client_for, alice, ready):
    answer = client_for(alice).post(reverse("comparison-create", args=["acme"]), ready)

    experiment = Experiment.objects.get()
    assert answer.url == address("comparison-detail", experiment)
    assert experiment.launched_at
    assert Job.objects.filter(kind=JobKind.RUN).count() == 1 + 3 * 2 + 4


def test_launch_sent_twice_gives_one_comparison(client_for, alice, ready):
    client = client_for(alice)

    answers = [client.post(reverse("comparison-create", args=["acme"]), ready) for _ in range(2)]
    page = client.get(answers[1].url).content.decode()

    assert answers[0].url == answers[1].url
    assert Experiment.objects.count() == 1
    assert "This form has started this comparison already. To start another one, change something in the form." in page


@pytest.mark.parametrize("changed", [{"seeds": "0"}, {"recipes": ["zero_shot", "lora"]}, {"key": "form-2"}])
def test_a_form_that_was_changed_or_opened_anew_starts_another_comparison(client_for, alice, ready, changed):
    client = client_for(alice)

    answers = [client.post(reverse("comparison-create", args=["acme"]), sent) for sent in (ready, ready | changed)]

    assert answers[0].url != answers[1].url
    assert "has started this comparison already" not in client.get(answers[1].url).content.decode()


def test_a_problem_stands_on_the_form_and_nothing_is_stored(client_for, alice, ready):
    page = client_for(alice).post(reverse("comparison-create", args=["acme"]), ready | {"lora-rank": "9000"}).content.decode()

    assert "LoRA: rank is “9000”; it must be a whole number from 1 to 512." in page
    assert Experiment.objects.count() == 0


def test_estimate_says_how_much_and_what_is_left_out(client_for, alice, ready):
    page = client_for(alice).post(reverse("comparison-estimate", args=["acme"]), ready).content.decode()

    assert "8, in 11 runs" in page
    assert "7 scored on validation rows, all seeds together; plain baselines, 4 runs of the 11, have none" in page
    assert "unknown until the first run" in page
    assert "Few-shot is left out" in page
    assert "unknown, for no prices are chosen" in page


def test_which_prompt_learning_starts_from_is_said_and_chosen_where_the_prompts_are(client_for, alice, workspace, ready):
    first, last = TemplateVersion.objects.get(), factories.make_template_version(workspace, name="Saved last")
    both = ready | {"templates": [str(first.pk), str(last.pk)]}
    client, estimate = client_for(alice), reverse("comparison-estimate", args=["acme"])

    assert "Learning starts from “Saved last v1”" in client.post(estimate, both).content.decode()
    assert "Learning starts from" not in client.post(estimate, both | {"tuned_template": str(first.pk)}).content.decode()
    assert "Learning starts from" not in client.post(estimate, both | {"recipes": ["zero_shot"]}).content.decode()

    client.post(reverse("comparison-create", args=["acme"]), both)
    assert Experiment.objects.get().approaches.get(method="lora").template_version == last
    page = client.get(reverse("comparison-create", args=["acme"])).content.decode()
    assert page.index('name="tuned_template"') < page.index('name="recipes"')


def test_estimate_of_a_number_that_is_none_says_so(client_for, alice, ready):
    asked = ready | {"recipes": ["prompt_search"], "prompt_search-max_candidates": "many"}

    page = client_for(alice).post(reverse("comparison-estimate", args=["acme"]), asked).content.decode()

    assert "prompts is “many”; it must be a whole number" in page


def test_estimate_names_what_stands_against_the_launch(client_for, alice, ready):
    page = client_for(alice).post(reverse("comparison-estimate", args=["acme"]), ready | {"seeds": "3, 3"}).content.decode()

    assert "A seed is given twice" in page


def test_polling_stops_when_everything_has_ended(client_for, alice, workspace, ready):
    finished = make_finished_experiment(workspace, num_runs=2)
    client = client_for(alice)
    client.post(reverse("comparison-create", args=["acme"]), ready)
    going_on = Experiment.objects.latest("created_at")

    assert "every 2s" in client.get(address("comparison-state", going_on)).content.decode()
    assert "every 2s" not in client.get(address("comparison-state", finished)).content.decode()


def test_curves_grow_while_a_run_trains(client_for, alice, ready):
    client = client_for(alice)
    client.post(reverse("comparison-create", args=["acme"]), ready)
    going_on = Experiment.objects.latest("created_at")
    state = address("comparison-state", going_on)
    assert "data-chart" not in client.get(state).content.decode(), "nothing has trained yet"

    job = Job.objects.get(run__approach__name__startswith="LoRA", run__seed=0)
    look = {"step": 0, "train_loss": None, "validation_accuracy": 0.31, "seconds": 0.0}
    job.progress = {"phase": "training", "step": 9, "steps": 250, "metrics": {"train_loss": 1.625, "validation_accuracy": 0.31}}
    job.progress |= {"curve": [look], "losses": [{"step": 9, "train_loss": 1.625, "seconds": 2.0, "steps": 1}]}
    job.state = "running"
    job.save()

    part = client.get(state).content.decode()
    assert "training, step 9 of 250, loss 1.625, 31.0% right on validation rows" in part
    assert 'data-chart="chart-loss"' in part
    assert 'data-chart="chart-loss"' in client.get(reverse("run-state", args=["acme", job.run.pk])).content.decode()


def test_nobody_to_do_the_work_is_said(client_for, alice, ready):
    client = client_for(alice)
    client.post(reverse("comparison-create", args=["acme"]), ready)

    page = client.get(address("comparison-state", Experiment.objects.get())).content.decode()

    assert "No worker for tuning and scoring is running" in page


def test_a_comparison_behind_another_says_how_much_comes_first(client_for, alice, ready):
    client = client_for(alice)
    for key in ("form-1", "form-2"):
        client.post(reverse("comparison-create", args=["acme"]), ready | {"key": key})
    first, second = Experiment.objects.order_by("created_at")
    Job.objects.filter(run__approach__experiment=first, run__approach__method="lora").update(state=JobState.SUCCEEDED)
    num_first = Job.objects.filter(run__approach__experiment=first, state=JobState.QUEUED).count()
    said, state = "Waiting for its turn", client.get(address("comparison-state", second)).content.decode()

    assert f"{said}: {num_first} earlier jobs of these workers come first" in state
    assert said not in client.get(address("comparison-state", first)).content.decode()

    job = Job.objects.filter(run__approach__experiment=second).first()
    assert job is not None
    Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING)
    assert said not in client.get(address("comparison-state", second)).content.decode()


def test_failed_run_shows_its_sentence_and_can_be_tried_again(client_for, alice, ready):
    client = client_for(alice)
    client.post(reverse("comparison-create", args=["acme"]), ready)
    job = Job.objects.filter(kind=JobKind.RUN).first()
    assert job is not None
    Job.objects.filter(pk=job.pk).update(state=JobState.FAILED, error="The model ran out of memory. Choose a smaller batch.")

    page = client.get(address("comparison-state", Experiment.objects.get())).content.decode()
    client.post(reverse("run-retry", args=["acme", job.run.pk]))

    assert "The model ran out of memory. Choose a smaller batch." in page
    assert Job.objects.get(pk=job.pk).state == JobState.QUEUED
