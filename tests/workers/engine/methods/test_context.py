"""Context-aware prompt tuning against PEFT's own: kinds of tokens, loss and gradients, and the bound on each vector."""

from dataclasses import replace

import pytest
import torch

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_frame, make_items, make_run, make_spec
from tests.workers.engine.training.test_loop import flat
from workers.engine.contract.outcome import Quality
from workers.engine.contract.spec import FileRef, Recipe
from workers.engine.contract.template_spec import Demonstration
from workers.engine.execute import execute
from workers.engine.methods.context import context_tokens, with_examples
from workers.engine.methods.tuning import create_tuning
from workers.engine.passes.batching import Lines
from workers.engine.training.loop import Hooks, Trainer

SHOWN = tuple(Demonstration(item.fields, item.label) for item in make_items(3))
WITH_EXAMPLES = replace(TEMPLATE, demonstrations=SHOWN)


def make_trainer(backbone, **options):
    frame = make_frame(backbone, replaced=True, template=WITH_EXAMPLES)
    tuning = create_tuning(backbone, frame, Recipe("cpt", {"batch_size": 4, **options}), 0)
    rows = frame.encode(make_items(6))
    lines = Lines(tuple(row.ids for row in rows), tuple(frame.answers_of(row.item.label)[0].ids for row in rows))
    hooks = Hooks(lambda: Quality(0.0, 0.0), lambda progress: None, lambda: None)
    return Trainer(backbone, tuning, lines, 0, hooks)


def test_tokens_know_whether_they_are_text_row_or_answer():
    backbone = make_backbone(start=True)
    frame = make_frame(backbone, template=WITH_EXAMPLES)

    context = context_tokens(frame)

    assert context.ids == frame.opening_ids
    for number, shown in enumerate(SHOWN):
        said = {
            kind: backbone.tokenizer.decode([i for i, k in zip(context.ids, context.kinds, strict=True) if k == 4 * number + kind]).strip()
            for kind in (1, 2, 3, 4)
        }
        assert said[2] == shown.fields["text"]
        assert said[3] == "Queue:"
        assert said[4] == shown.label
        assert said[1].endswith("Message:")
    assert context.kinds[-1] == 4 * len(SHOWN) + 1


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_loss_and_gradient_are_those_of_peft(family):
    trainer = make_trainer(make_backbone(family), loss_decay=0.9)
    rows = [0, 1, 4]
    model = trainer.tuning.peft_model
    width = max(len(trainer.lines.contexts[row]) + len(trainer.lines.answers[row]) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    kinds, seen = torch.zeros_like(ids), torch.zeros(len(rows), width + len(model.active_peft_config.cpt_token_ids), dtype=torch.long)
    for place, row in enumerate(rows):
        context, answer = trainer.lines.contexts[row], trainer.lines.answers[row]
        line = torch.tensor([*context, *answer])
        ids[place, : len(line)] = line
        # PEFT adds the last kind of the prompt, 13 here, so that the row becomes 14 and its answer 16.
        kinds[place, : len(line)] = torch.tensor([1] * len(context) + [3] * len(answer))
        seen[place, : seen.shape[1] - width + len(line)] = 1

    loss, gradients = trainer.loss_and_gradients(rows, plain=False)
    theirs = model(input_ids=ids, labels=ids.clone(), input_type_mask=kinds, attention_mask=seen[:, -width:]).loss
    theirs.backward()

    assert loss == pytest.approx(float(theirs.detach()), rel=1e-4)
    expected = flat([parameter.grad for parameter in trainer.parameters.values()])
    torch.testing.assert_close(flat(gradients), expected, atol=1e-5, rtol=1e-3)


def test_no_vector_moves_further_than_allowed_and_answers_stay():
    backbone = make_backbone()
    trainer = make_trainer(backbone, learning_rate=5.0, max_steps=4, warmup_steps=0, evaluate_every=4, largest_change=0.1)
    start = trainer.tuning.virtual().vectors.detach().clone()
    best = iter(range(9))
    trainer.hooks = Hooks(lambda: Quality(next(best) / 9, 0.0), lambda progress: None, lambda: None)

    trainer.train()

    moved = (trainer.tuning.virtual().vectors.detach() - start).norm(dim=1)
    allowed = 0.1 * backbone.embedding_rms() * backbone.model.config.hidden_size**0.5
    kinds = torch.tensor(trainer.tuning.peft_model.active_peft_config.cpt_tokens_type_mask)
    assert float(moved.max()) == pytest.approx(allowed, rel=1e-3)
    assert float(moved[kinds % 4 == 0].max()) == 0


def test_train_rows_are_shown_in_turns_of_labels_when_the_prompt_shows_none(tmp_path):
    backbone = make_backbone(max_position_embeddings=1024)
    warnings: list[str] = []
    spec = make_spec(recipe=Recipe("cpt", {"context_examples": 4}), seed=3, train=FileRef("none.jsonl"))

    shown = with_examples(spec, backbone, make_items(12), warnings).template.demonstrations

    assert sorted(example.label for example in shown) == sorted(LABELS)
    assert not warnings
    assert with_examples(replace(spec, template=WITH_EXAMPLES), backbone, make_items(12), warnings).template.demonstrations == SHOWN


def test_fewer_examples_than_asked_for_are_said(tmp_path):
    run = make_run(tmp_path, make_backbone(), "cpt", options={"context_examples": 50})

    execute(run)

    assert any("train rows, not 50" in warning for warning in run.warnings)
