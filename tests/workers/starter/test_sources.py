from __future__ import annotations

from pathlib import Path

from tests.workers.starter.conftest import write_lines
from workers.starter import naming, sources


def test_rows_of_held_out_intents_are_only_given_when_asked_for(tmp_path: Path) -> None:
    rows = [{"split": "train", "text": f"text {i}", "label": i} for i in ("weather", "balance", "alarm", "traffic")]
    write_lines(tmp_path / "starter" / "clinc150.jsonl.gz", rows)
    assert {row.label for row in sources.clinc_rows(tmp_path, "train", held_out=False)} == {"balance", "traffic"}
    assert {row.label for row in sources.clinc_rows(tmp_path, "train", held_out=True)} == {"weather", "alarm"}


def test_thirty_intents_are_held_out_three_of_each_domain_and_none_has_a_training_name() -> None:
    assert len(naming.HELD_OUT_INTENTS) == 30
    assert len(naming.TRAINED_INTENTS) == 120
    assert not naming.HELD_OUT_INTENTS & set(naming.TRAINED_INTENTS)
    assert not naming.HELD_OUT_INTENTS & set(naming.DOMAIN_OF)
    assert {len(members) for _, members in naming.DOMAINS} == {12}


def test_tasks_with_restrictive_licences_long_documents_or_constant_answers_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"template": name, "prompt": f"{name} {n}", "completion": answer}
        for name, answers in {
            "glue_qqp_answer": ("yes", "no"),
            "xsum_tldr": ("one", "two"),
            "quartz_answer": ("more", "less"),
            "paws_constant": ("yes", "yes"),
            "qasc_empty": ("", ""),
        }.items()
        for n, answer in enumerate(answers)
    ]
    write_lines(tmp_path / "starter" / "t0_50k.jsonl.gz", rows)
    assert set(sources.trained_tasks(sources.all_t0_tasks(tmp_path))) == {"quartz_answer"}


def test_sentences_are_whole_and_distinct() -> None:
    task = sources.Task("quartz_a", "The sun is very hot today. Short one. The sun is very hot today.", "yes")
    other = sources.Task("quartz_a", "The ice on the lake melts.", "no")
    assert sources.sentences({"quartz_a": [task, other]}) == ["The sun is very hot today.", "The ice on the lake melts."]
