"""What each measure must reach, what is aimed at and what physics allows. Figures only.

A limit that follows from counting operations is counted in the measure; those here are the rest. A goal is half of the way from the
gate to the limit unless it was set by itself.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """Asked of one measure.

    Args:
        what: the workload, for the table.
        gate: least ratio; None for a measure that is only reported.
        limit: highest ratio thinkable, None where the measure counts it.
    """

    what: str
    gate: float | None
    goal: float | None = None
    limit: float | None = None


GATES: dict[str, Gate] = {
    "a1": Gate("score 32 rows behind one long prompt, one-token labels", 10.0, 16.0),
    "a2": Gate("score 16 rows, two-token labels", 20.0, 31.5),
    "a3": Gate("score 128 rows, against a cache that is cropped", 1.5, 2.25, 3.0),
    "a3-bf16": Gate("the same in bf16", 2.0, 2.5, 3.0),
    "a4": Gate("score rows without a prompt", 1.2, 1.28),
    "a5": Gate("four prompts that share their examples, as a share of the trie's ratio", 0.6, 0.8, 1.0),
    "b1": Gate("train a soft prompt of 20, against padding as in the example", 2.5, 2.85),
    "b2-trainer": Gate("the same, against dynamic padding by length", 1.5, 1.7),
    "b2-trl": Gate("the same, against TRL's SFTTrainer", 2.0, 2.3),
    "b3": Gate("train a soft prompt of 100", 3.0, 3.4),
    "b4": Gate("eight seeds and step sizes in one forward, against eight runs", 2.0, 2.5, 3.0),
    "b5": Gate("seconds until a validation loss is reached", 1.5, 1.7),
    "c1-p20": Gate("32 requests to 16 soft prompts of 20", 2.5),
    "c1-p100": Gate("32 requests to 16 soft prompts of 100", 5.0),
    "c1-p20-grouped": Gate("c1-p20, against requests grouped by prompt", None),
    "c1-p100-grouped": Gate("c1-p100, against requests grouped by prompt", None),
    "c2": Gate("16 tokens written for each of 32 requests to 16 soft prompts of 20", 5.0),
    "c2-grouped": Gate("the same, against requests grouped by prompt", 3.0),
    "c3": Gate("soft, P-tuning, prefix, LoRA, IA3 and written rows in one pass", None),
    "c4": Gate("one request beside 1,000 prompts, against beside none", 0.8, 0.9, 1.0),
    "memory": Gate("peak memory of tuning above the loaded weights", 2.0),
    "host-warm": Gate("a warm host starts a run, against half a second", 1.0),
    "host-cold": Gate("a cold host starts a run, model load left out, against five seconds", 1.0),
}
