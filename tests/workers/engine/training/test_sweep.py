import json

import pytest

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_items, make_run, make_spec, write_rows
from workers.engine.contract.recipes import METHODS
from workers.engine.contract.spec import FileRef, Recipe
from workers.engine.contract.template_spec import Demonstration
from workers.engine.errors import BadSpec, NonFinite, RunStopped
from workers.engine.execute import execute
from workers.engine.figures.halving import Stage, plan_stages
from workers.engine.methods.artifacts import load_tuning, read_manifest
from workers.engine.training.grid import configurations_of

SMALL = {"max_steps": 9, "evaluate_every": 1, "warmup_steps": 1, "batch_size": 4, "patience": 0}
# Several soft prompts are trained in one forward, adapters one after another, which takes long.
SWEPT = ["prompt_tuning", pytest.param("lora", marks=pytest.mark.slow)]
TUNED = tuple(name for name, method in METHODS.items() if method.family == "tuned")


def journal(tmp_path):
    return [json.loads(line) for line in (tmp_path / "out" / "trials.jsonl").read_text().splitlines()]


def sweep_run(tmp_path, method="prompt_tuning", configurations=3, backbone=None, **more):
    options = {**SMALL, "configurations": configurations, **more.pop("options", {})}
    if "num_virtual_tokens" in METHODS[method].options:
        options = {"num_virtual_tokens": 4, **options}
    return make_run(tmp_path, backbone or make_backbone(), method, options=options, **more)


@pytest.mark.parametrize(
    ("number", "stages"),
    [
        (1, [Stage(1, 250)]),
        (2, [Stage(2, 100), Stage(1, 250)]),
        (3, [Stage(3, 100), Stage(1, 250)]),
        (8, [Stage(8, 50), Stage(3, 100), Stage(1, 250)]),
        (9, [Stage(9, 50), Stage(3, 100), Stage(1, 250)]),
    ],
)
def test_the_better_third_goes_on_until_one_is_left(number, stages):
    assert plan_stages(number, 250, 50) == stages


def test_a_training_with_one_look_has_one_round():
    assert plan_stages(5, 40, 50) == [Stage(5, 40)]


def test_the_first_configuration_is_the_one_that_was_set_and_step_sizes_come_next():
    spec = make_spec(recipe=Recipe("lora", {"configurations": 5, "varied": "all", "learning_rate": 1e-3}), train=FileRef("t"))

    found = configurations_of(spec, 10_000, "llama")

    assert [each.name for each in found] == [
        "as set",
        "learning rate 0.0005",
        "learning rate 0.002",
        "learning rate 0.005",
        "rank 16, alpha 32",
    ]
    assert dict(found[0].spec.recipe.options) == {**spec.recipe.options, "configurations": 1}


@pytest.mark.parametrize("method", TUNED)
@pytest.mark.parametrize("varied", ["rate", "all"])
def test_every_method_has_as_many_different_configurations_as_are_asked_for(method, varied):
    spec = make_spec(recipe=Recipe(method, {"configurations": 20, "varied": varied}), train=FileRef("t"))

    found = configurations_of(spec, 10_000, "llama")

    assert [each.number for each in found] == list(range(20))
    assert len({json.dumps(each.plain(), sort_keys=True) for each in found}) == 20
    assert len({each.name for each in found}) == 20


@pytest.mark.parametrize("method", [*SWEPT, pytest.param("full", marks=pytest.mark.slow)])
def test_a_sweep_keeps_the_configuration_that_is_best_on_validation_rows(tmp_path, method):
    result = execute(sweep_run(tmp_path, method))

    looks = journal(tmp_path)
    last = {look["number"]: look for look in looks}
    best = {number: max((each["correct"], -each["loss"]) for each in looks if each["number"] == number) for number in last}
    sweep = result.sweep
    assert sorted(last) == [0, 1, 2]
    assert (sweep["configurations"], sweep["num_refused"]) == (3, 0)
    assert [last[number]["step"] for number in last].count(9) == 1, "one of three goes on to the last step"
    assert last[sweep["winner"]]["step"] == 9
    assert best[sweep["winner"]][0] == round(sweep["winner_accuracy"] * 12)
    assert result.training.sweep_seconds == pytest.approx(
        sweep["seconds"] - result.training.train_seconds - result.training.evaluation_seconds
    )
    assert result.metrics["test"].n == 12


def test_the_winner_is_what_it_would_be_if_it_had_been_trained_alone(tmp_path):
    swept = execute(sweep_run(tmp_path / "swept", "prompt_tuning"))
    config = swept.sweep["winner_config"]
    alone = execute(make_run(tmp_path / "alone", make_backbone(), "prompt_tuning", options=config["options"], seed=config["seed"]))

    ours, theirs = (load_tuning(tmp_path / name / "out" / "artifact", make_backbone()).virtual().vectors for name in ("swept", "alone"))
    assert ours is not None
    assert theirs is not None
    assert float((ours - theirs).detach().abs().max()) <= 1e-3
    assert swept.training.best_step == alone.training.best_step


@pytest.mark.parametrize("method", ["cpt", pytest.param("lora", marks=pytest.mark.slow)])
def test_the_artifact_names_the_options_that_won(tmp_path, method):
    result = execute(sweep_run(tmp_path, method, 4, options={"varied": "all", "rounds": "whole"}))

    manifest = read_manifest(tmp_path / "out" / "artifact")
    assert manifest["recipe"]["options"] == result.sweep["winner_config"]["options"]


def test_parts_inside_the_model_leave_it_as_it_was(tmp_path):
    backbone = make_backbone()
    before = backbone.fingerprint()

    execute(sweep_run(tmp_path, "lora", backbone=backbone))

    assert backbone.fingerprint() == before


@pytest.mark.parametrize("method", SWEPT)
def test_a_sweep_that_was_stopped_goes_on_where_it_was(tmp_path, method):
    whole = execute(sweep_run(tmp_path / "whole", method))
    steps = []

    def stop_in_the_middle():
        steps.append(1)
        return len(steps) > 40

    checkpoints = {"checkpoint_dir": str(tmp_path / "kept"), "checkpoint_seconds": 0.0, "resume": True}
    with pytest.raises(RunStopped):
        execute(sweep_run(tmp_path / "cut", method, should_stop=stop_in_the_middle, **checkpoints))
    resumed = execute(sweep_run(tmp_path / "cut", method, **checkpoints))

    assert resumed.training.resumed_from
    assert resumed.sweep["winner"] == whole.sweep["winner"]
    assert resumed.sweep["winner_loss"] == pytest.approx(whole.sweep["winner_loss"], rel=1e-4)


def test_a_configuration_that_cannot_be_made_is_named_and_the_others_go_on(tmp_path):
    template = type(TEMPLATE)(user="{{text}}\n", answer_cue="Queue:")
    run = sweep_run(
        tmp_path, "prompt_tuning", 8, template=template, options={"init": "vocabulary", "varied": "all", "template_text": "kept"}
    )

    result = execute(run)

    refused = [look for look in journal(tmp_path) if look["problem"]]
    assert refused
    assert all("there is none before the row" in look["problem"] for look in refused)
    assert result.sweep["num_refused"] == len(refused)


def test_a_sweep_in_which_everything_breaks_down_says_why(tmp_path):
    backbone = make_backbone()
    backbone.model.get_output_embeddings().weight.data[0, 0] = float("nan")

    with pytest.raises(NonFinite, match="not finite"):
        execute(sweep_run(tmp_path, "prompt_tuning", backbone=backbone))


def test_a_written_prompt_tries_other_wordings_without_examples(tmp_path):
    result = execute(make_run(tmp_path, make_backbone(), "hard_prompt", options={"configurations": 4}))

    looks = journal(tmp_path)
    assert {look["number"] for look in looks} == {0, 1, 2, 3}
    assert all(not look["config"]["demonstrations"] for look in looks)
    assert max(look["rows"] for look in looks) == 12
    assert result.written["search"]["num_candidates"] == 4


def test_a_prompt_with_examples_tries_other_examples_and_keeps_showing_some(tmp_path):
    shown = tuple(Demonstration(item.fields, item.label) for item in make_items(3))
    template = type(TEMPLATE)(user="Message: {{text}}\n", answer_cue="Queue:", demonstrations=shown)

    execute(make_run(tmp_path, make_backbone(), "hard_prompt", options={"configurations": 5}, template=template))

    looks = journal(tmp_path)
    assert {look["number"] for look in looks} == set(range(5))
    assert all(look["config"]["demonstrations"] for look in looks)


def test_drawn_examples_try_other_draws(tmp_path):
    execute(make_run(tmp_path, make_backbone(), "drawn_examples", options={"configurations": 3, "num_examples": 4}))

    looks = journal(tmp_path)
    assert {look["name"] for look in looks} == {"draw 1", "draw 2", "draw 3"}
    assert len({json.dumps(look["config"]["demonstrations"]) for look in looks}) == 3


@pytest.mark.parametrize(("method", "options"), [("hard_prompt", {"score": "mean"}), ("drawn_examples", {"policy": "nearest"})])
def test_what_cannot_be_chosen_on_validation_rows_is_refused(tmp_path, method, options):
    with pytest.raises(BadSpec, match="Only one configuration"):
        make_run(tmp_path, make_backbone(), method, options={"configurations": 2, **options})


def test_wordings_are_not_chosen_without_validation_rows(tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", make_items(4))

    with pytest.raises(BadSpec, match="Give the run a validation file"):
        make_spec(recipe=Recipe("hard_prompt", {"configurations": 2}), train=rows, labels=LABELS)
