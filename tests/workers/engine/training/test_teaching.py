"""A teacher's answers in place of labels: who is asked about what, what is kept, and what a student makes of it."""

import json
from dataclasses import replace

import pytest

from tests.workers.engine.fakes import LABELS, TEMPLATE, make_backbone, make_items, make_run, write_rows
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.outcome import Prediction
from workers.engine.contract.spec import FileRef, Item, RunSpec
from workers.engine.contract.teaching_rules import JOURNAL, Teaching
from workers.engine.contract.template_spec import Demonstration, FirstStep, TemplateSpec, Variant
from workers.engine.errors import BadData, BadSpec, RunStopped
from workers.engine.execute import execute
from workers.engine.training.teaching import hear_teacher

SHOWN = make_items(2)
TEACHER = Variant("Few-shot", replace(TEMPLATE, demonstrations=tuple(Demonstration(item.fields, item.label, item.id) for item in SHOWN)))


def make_taught(tmp_path, backbone=None, rows=12, **overrides):
    values = {"teacher": TEACHER, "options": {"num_virtual_tokens": 6}}
    return make_run(tmp_path, backbone or make_backbone(), "prompt_tuning", rows, **(values | overrides))


def told(item, label=None):
    """What a teacher says who finds `label` (its own idea of the row) the likeliest."""
    label = label or LABELS[(LABELS.index(item.label) + 1) % len(LABELS)]
    beliefs = {each: -0.1 if each == label else -3.0 for each in LABELS}
    return Prediction(item.id, item.label, predicted=label, loglikelihoods=beliefs, prompt_tokens=40, completion_tokens=2, seconds=0.5)


class Asked:
    """A teacher that remembers which rows it was asked about."""

    def __init__(self, stop_after=None):
        self.ids, self.calls, self.stop_after = [], 0, stop_after

    def __call__(self, items):
        if self.stop_after is not None and self.calls >= self.stop_after:
            raise RunStopped("stopped")
        self.calls += 1
        self.ids += [item.id for item in items]
        return [told(item) for item in items]


def test_the_teachers_answers_stand_in_place_of_the_labels(tmp_path):
    run = make_taught(tmp_path)

    lessons = hear_teacher(run, Asked())

    by_id = {item.id: item for item in make_items(12)}
    assert all(lesson.label != by_id[lesson.id].label for lesson in lessons.train)
    assert lessons.right == 0


def test_rows_that_the_teachers_prompt_shows_are_not_learned_from(tmp_path):
    lessons = hear_teacher(make_taught(tmp_path), Asked())

    assert {item.id for item in lessons.train}.isdisjoint(item.id for item in SHOWN)
    assert lessons.left_out == 2


@pytest.mark.parametrize("name", ["", "row of an older version"])
def test_rows_shown_without_their_id_are_known_by_their_text(tmp_path, name):
    nameless = replace(TEMPLATE, demonstrations=tuple(Demonstration(item.fields, item.label, name) for item in SHOWN))

    assert hear_teacher(make_taught(tmp_path, teacher=Variant("Few-shot", nameless)), Asked()).left_out == 2


def test_a_student_that_is_evaluated_on_nothing_hears_its_teacher(tmp_path):
    result = execute(make_taught(tmp_path, evaluate=()))

    assert result.distillation["learned_rows"] == 10
    assert result.artifact is not None


def test_only_so_many_rows_are_asked_about_the_same_for_every_seed(tmp_path):
    first, second = Asked(), Asked()
    few = {"teaching": Teaching(rows=4), "validation": None}

    hear_teacher(make_taught(tmp_path / "a", seed=0, **few), first)
    hear_teacher(make_taught(tmp_path / "b", seed=1, **few), second)

    assert len(first.ids) == 4
    assert first.ids == second.ids


def test_an_attempt_that_was_stopped_is_not_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.engine.training.teaching._CHUNK", 4)
    run = make_taught(tmp_path, validation=None, checkpoint_dir=str(tmp_path / "checkpoint"))
    with pytest.raises(RunStopped):
        hear_teacher(run, Asked(stop_after=1))
    journal = tmp_path / "checkpoint" / JOURNAL
    journal.write_text(journal.read_text() + '{"id": "row-11", "ans')  # the attempt died in the middle of a line

    again = Asked()
    lessons = hear_teacher(run, again)

    assert len(again.ids) == 6
    assert len(lessons.train) == 10
    assert len(journal.read_text().splitlines()) == 11


def test_answers_of_another_teacher_are_asked_anew(tmp_path):
    place = {"validation": None, "checkpoint_dir": str(tmp_path / "checkpoint")}
    hear_teacher(make_taught(tmp_path, **place), Asked())

    other = Asked()
    hear_teacher(make_taught(tmp_path, teacher=Variant("Other", TEMPLATE), **place), other)

    assert len(other.ids) == 12


def make_bare(n, start=100):
    """Unlabelled rows, none of which reads like a labelled one."""
    return [Item(f"bare-{at}", {"text": f"{item.fields['text']} today"}, "") for at, item in enumerate(make_items(n), start)]


def told_bare(items):
    """What a teacher says about any row: the first label, surely."""
    beliefs = {each: -0.1 if each == LABELS[0] else -3.0 for each in LABELS}
    return [Prediction(item.id, item.label, predicted=LABELS[0], loglikelihoods=beliefs) for item in items]


@pytest.mark.parametrize(("learns_on", "train", "unlabelled"), [("train", 10, 0), ("unlabelled", 0, 5), ("both", 10, 5)])
def test_the_teacher_is_asked_about_the_rows_that_are_learned_on(tmp_path, learns_on, train, unlabelled):
    bare = write_rows(tmp_path / "bare.jsonl", make_bare(5))
    run = make_taught(tmp_path / "run", unlabelled=bare, validation=None, teaching=Teaching(learns_on=learns_on))

    lessons = hear_teacher(run, told_bare)

    assert {item.label for item in lessons.train} == {LABELS[0]}
    facts = lessons.facts(run.spec)
    assert (facts["learned_train"], facts["learned_unlabelled"]) == (train, unlabelled)
    assert facts["learned_rows"] == facts["asked_rows"] == train + unlabelled
    assert facts["teacher_right"] == (2 if train else None)  # of rows 2 to 11, which the prompt does not show, two are LABELS[0]


def test_the_most_rows_are_drawn_of_both_kinds_together(tmp_path):
    bare = write_rows(tmp_path / "bare.jsonl", make_bare(40))
    run = make_taught(tmp_path / "run", unlabelled=bare, validation=None, teaching=Teaching(learns_on="both", rows=8))

    lessons = hear_teacher(run, told_bare)

    assert len(lessons.train) == 8
    assert 0 < lessons.unlabelled < 8


def test_unlabelled_rows_that_the_prompt_shows_are_left_out(tmp_path):
    repeated = [replace(SHOWN[0], id="bare-0", label=""), *make_bare(3)]
    shown = replace(TEMPLATE, demonstrations=tuple(Demonstration(item.fields, item.label) for item in SHOWN))
    bare = write_rows(tmp_path / "bare.jsonl", repeated[:1] + [replace(row, fields={"text": f"new {row.id}"}) for row in repeated[1:]])
    taught = {"teacher": Variant("Shown", shown), "unlabelled": bare, "validation": None, "teaching": Teaching(learns_on="unlabelled")}

    assert hear_teacher(make_taught(tmp_path / "run", **taught), told_bare).left_out == 1


@pytest.mark.parametrize("targets", ["labels", "distribution"])
def test_a_student_learns_with_no_train_row_at_all(tmp_path, targets):
    bare = write_rows(tmp_path / "bare.jsonl", make_bare(12))

    result = execute(make_taught(tmp_path / "run", train=None, unlabelled=bare, teaching=Teaching(targets, learns_on="unlabelled")))

    assert (result.distillation["learned_train"], result.distillation["checked_rows"]) == (0, 12)
    assert result.distillation["learned_unlabelled"] + result.distillation["left_out"] == 12


def test_a_label_on_an_unlabelled_row_is_refused(tmp_path):
    bare = write_rows(tmp_path / "bare.jsonl", make_items(2))

    with pytest.raises(BadData, match=r"Row 1 of bare.jsonl has the label 'card', but its rows are read as unlabelled"):
        hear_teacher(make_taught(tmp_path / "run", unlabelled=bare, teaching=Teaching(learns_on="unlabelled")), told_bare)


def test_without_an_answer_to_unlabelled_rows_the_sentence_names_them(tmp_path):
    bare = write_rows(tmp_path / "bare.jsonl", make_bare(2))
    answers = write_answers(tmp_path / "answers.jsonl", [{"id": "row-1", "answer": "cash"}])
    taught = {"teacher": None, "teacher_answers": answers, "unlabelled": bare, "teaching": Teaching(learns_on="unlabelled")}

    with pytest.raises(BadData, match=r"has answered no unlabelled row .* let it answer the unlabelled rows first"):
        hear_teacher(make_taught(tmp_path / "run", **taught), None)


def write_answers(path, lessons):
    path.write_text("".join(json.dumps(each) + "\n" for each in lessons), encoding="utf-8")
    return FileRef(str(path))


def test_answers_that_were_given_before_are_read_and_nobody_is_asked(tmp_path):
    answers = write_answers(tmp_path / "answers.jsonl", [{"id": f"row-{at}", "answer": "cash", "tokens": 7} for at in range(5)])
    run = make_taught(tmp_path, teacher=None, teacher_answers=answers, validation=None)

    lessons = hear_teacher(run, None)

    assert [(item.id, item.label) for item in lessons.train] == [(f"row-{at}", "cash") for at in range(5)]
    assert lessons.facts(run.spec)["asked_rows"] == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("not json\n", "are not as this engine writes them"), ('{"id": "elsewhere", "answer": "cash"}\n', "has answered no train row")],
)
def test_answers_that_teach_nothing_are_refused(tmp_path, content, sentence):
    path = tmp_path / "answers.jsonl"
    path.write_text(content)

    with pytest.raises(BadData, match=sentence):
        hear_teacher(make_taught(tmp_path, teacher=None, teacher_answers=FileRef(str(path))), None)


def test_a_distribution_is_learned_only_where_the_teacher_tells_one(tmp_path):
    items = make_items(6)
    sure = [{"id": item.id, "answer": "cash", "loglikelihoods": dict.fromkeys(LABELS, -1.0)} for item in items[:4]]
    silent = [{"id": item.id, "answer": "cash"} for item in items[4:]]
    answers = write_answers(tmp_path / "answers.jsonl", [*sure, *silent])
    taught = {"teacher": None, "teacher_answers": answers, "validation": None, "teaching": Teaching("distribution")}
    run = make_taught(tmp_path, **taught)

    lessons = hear_teacher(run, None)

    assert len(lessons.train) == 4
    assert run.warnings == ["2 train rows were left out, because the teacher did not give how likely it finds each label."]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("targets", "method", "learner"),
    [("labels", "lora", {"learning_rate": 0.01}), ("distribution", "prompt_tuning", {"num_virtual_tokens": 12, "learning_rate": 1.0})],
)
def test_a_student_comes_to_agree_with_its_teacher(tmp_path, targets, method, learner):
    """The teacher is a prompt with examples on a random model, so its answers have nothing to do with the labels."""
    options = learner | {"max_steps": 90, "batch_size": 16, "evaluate_every": 30}
    # The step is chosen on validation rows as for every approach; here their labels are what the teacher says.
    execute(make_run(tmp_path / "teacher", make_backbone(), rows=40, template=TEACHER.template))
    said = [json.loads(line) for line in (tmp_path / "teacher" / "out" / "predictions-test.jsonl").read_text().splitlines()]
    items = [replace(item, label=line["predicted"]) for item, line in zip(make_items(40), said, strict=True)]
    checked = write_rows(tmp_path / "checked.jsonl", items)

    taught = {"teacher": TEACHER, "teaching": Teaching(targets), "validation": checked}
    result = execute(make_run(tmp_path, make_backbone(), method, 40, options=options, **taught))

    found = result.distillation
    assert found["checked_rows"] == 40
    assert (found["learned_rows"], found["left_out"]) == (38, 2)
    assert found["teacher_tokens"] > 40 * 20
    assert found["agreed"] >= 35
    assert result.timings["teach"] > 0
    assert (tmp_path / "out" / JOURNAL).exists()


def test_a_prompt_of_two_steps_teaches_too(tmp_path):
    written_first = FirstStep("What is it about? {{text}}", Generation(max_new_tokens=3))
    two_steps = replace(TEMPLATE, user="Message: {{text}}\nNote: {{step_1}}\n", first_step=written_first)

    result = execute(make_taught(tmp_path, teacher=Variant("Two steps", two_steps)))

    assert result.distillation["asked_rows"] == 12


def test_a_student_may_start_from_another_tuned_prompt(tmp_path):
    backbone = make_backbone()
    execute(make_taught(tmp_path / "first", backbone))

    result = execute(make_taught(tmp_path / "second", backbone, start_from=str(tmp_path / "first" / "out" / "artifact")))

    assert result.distillation["checked_rows"] == 12


@pytest.mark.parametrize("method", ["lora", "prefix_tuning", "ia3"])
def test_every_tuned_method_can_be_taught(tmp_path, method):
    result = execute(make_run(tmp_path, make_backbone(), method, teacher=TEACHER, teaching=Teaching("distribution", temperature=2.0)))

    assert result.distillation["temperature"] == 2.0


def test_a_row_too_long_for_the_teacher_teaches_nothing_and_stops_nothing(tmp_path):
    long = replace(make_items(1)[0], id="long", fields={"text": "word " * 27})
    rows = write_rows(tmp_path / "long.jsonl", [*make_items(8), long])
    filler = Demonstration({"text": "word " * 20}, "card", "elsewhere")
    wide = Variant("Wide", TemplateSpec(user="{{text}}", demonstrations=(filler, filler)))

    result = execute(make_taught(tmp_path, train=rows, teacher=wide))

    assert result.distillation["learned_rows"] == 8
    assert any("1 train rows were left out" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"teacher_answers": FileRef("x.jsonl")}, "names a teacher's prompt and a teacher's answers"),
        ({"teaching": Teaching("distribution"), "task": "extraction"}, "Free answers have no distribution"),
        ({"teaching": Teaching(learns_on="both")}, "to teach unlabelled rows. Give the run a file of them"),
        ({"train": None}, "learns from rows. Give the run a train file"),
    ],
)
def test_a_teaching_that_cannot_be_is_refused_before_it_starts(tmp_path, overrides, sentence):
    with pytest.raises(BadSpec, match=sentence):
        make_taught(tmp_path, **overrides)


def test_a_written_prompt_cannot_be_taught(tmp_path):
    with pytest.raises(BadSpec, match="trains no part of its own, so it cannot be taught"):
        make_run(tmp_path, make_backbone(), teacher=TEACHER)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"targets": "dreams"}, "teaching.targets"),
        ({"temperature": 0}, "above 0 and at most 100"),
        ({"rows": 2.5}, "a whole number"),
        ({"learns_on": "test"}, "learns_on"),
    ],
)
def test_rules_of_teaching_are_checked(values, sentence):
    with pytest.raises(BadSpec, match=sentence):
        Teaching(**values)


def test_a_spec_with_a_teacher_survives_json(tmp_path):
    spec = make_taught(tmp_path, teaching=Teaching("distribution", 3.0, 100, "both"), unlabelled=FileRef("bare.jsonl")).spec

    assert RunSpec.from_json(spec.to_json()) == spec
