"""A prompt of two steps in one process: written in the editor, tried, compared on a real (tiny) model, its first texts read row by row."""

import pytest
from django.urls import reverse

from experiments.models import Evaluation, Experiment, Prediction, Preview, TemplateVersion
from experiments.services.reports import report_create
from tests.test_end_to_end import make_data, tiny_backbone, warm_host, work_off_all_jobs  # noqa: F401  (fixtures)

WORDS = {
    "name": "Thinks first",
    "first_text": "What does the customer want?\r\n{{message}}\r\nIn short:",
    "first_tokens": "5",
    "first_one_line": "on",
    "user": "Wish: {{step_1}}\r\nMessage: {{message}}",
    "answer_cue": "Queue:",
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_steps_from_the_editor_to_the_rows(workspace, alice, tiny_backbone, client_for):  # noqa: F811
    version = make_data(workspace, alice)
    client = client_for(alice)
    words = {**WORDS, "data": str(version.pk), "backbone": str(tiny_backbone.pk)}

    preview = client.post(reverse("prompt-preview", args=["acme"]), words).content.decode()
    assert "What does the customer want?" in preview
    assert "[what the model writes in the first step]" in preview

    tried = client.post(reverse("prompt-try", args=["acme"]), words, follow=True)
    work_off_all_jobs()
    row = Preview.objects.get().result["rows"][0]
    shown = client.get(reverse("preview-detail", args=["acme", Preview.objects.get().pk])).content.decode()
    assert tried.status_code == 200
    assert row["first_prompt"].startswith("What does the customer want?\n")
    assert row["prompt"].startswith(f"Wish: {row['first_text']}\nMessage: ")
    assert "What the first step read" in shown

    assert client.post(reverse("prompt-create", args=["acme"]), words).status_code == 302
    written = TemplateVersion.objects.get()
    assert written.first_step == {"text": "What does the customer want?\n{{message}}\nIn short:", "max_tokens": 5, "stop": ["\n"]}
    page = client.get(reverse("prompt-detail", args=["acme", written.template_id])).content.decode()
    assert "ends after 5 tokens or at the end of the line" in page
    editor = client.get(reverse("prompt-edit", args=["acme", written.template_id])).content.decode()
    assert "In short:</textarea>" in editor

    launch = {
        "name": "Thinking or not",
        "dataset_version": str(version.pk),
        "templates": [str(written.pk)],
        "backbone": str(tiny_backbone.pk),
        "recipes": ["zero_shot"],
        "seeds": "0",
        "monthly_requests": "100000",
        "margin": "1",
        "too_long": "refuse",
        "key": "two-steps",
    }
    refused = client.post(reverse("comparison-create", args=["acme"]), {**launch, "recipes": ["zero_shot", "soft_prompt"]})
    assert refused.status_code == 200
    assert "Soft prompt starts from a prompt of one step, but “Thinks first v1” has a first step." in refused.content.decode()
    assert client.post(reverse("comparison-create", args=["acme"]), launch).status_code == 302
    work_off_all_jobs()

    experiment = Experiment.objects.get()
    evaluation = Evaluation.objects.get(run__approach__experiment=experiment, run__approach__method="hard_prompt")
    made = Prediction.objects.filter(evaluation=evaluation)
    assert made.count() == version.split_counts["validation"]
    assert all(each.first_text and "\n" not in each.first_text for each in made)
    assert all(each.prompt_tokens > each.completion_tokens > 0 for each in made)
    rows = client.get(reverse("comparison-examples", args=["acme", experiment.pk])).content.decode()
    assert "First step:" in rows
    run = client.get(reverse("run-detail", args=["acme", evaluation.run.pk])).content.decode()
    assert "tokens a row on average" in run
    report = report_create(experiment=experiment, by=alice, includes_prompts=True)
    assert report.payload["prompts"][0]["first_step"].startswith("What does the customer want?")
