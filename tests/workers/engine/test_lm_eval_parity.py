"""Per-label log-likelihoods equal those of EleutherAI's lm-evaluation-harness on the same strings and model."""

import pytest

from tests.workers.engine.fakes import FAMILIES, LABELS, make_backbone, make_frame, make_items, trie_of
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.template_spec import TemplateSpec

TEMPLATES = (
    TemplateSpec(system="Sort the message into card, cash or transfer.", user="Message: {{text}}\n", answer_cue="Queue:"),
    TemplateSpec(user="{{text}}\nThe queue is ", answer_cue=""),
    TemplateSpec(user="{{text}}", answer_cue="\nQueue:\n"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_label_log_likelihoods_equal_the_harness(family):
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    backbone = make_backbone(family)
    harness = HFLM(pretrained=backbone.model, tokenizer=backbone.tokenizer, batch_size=4, device="cpu")
    items = make_items(5)
    for template in TEMPLATES:
        frame = make_frame(backbone, template=template)
        rows = frame.encode(items)
        asked = []
        for row in rows:
            gap = "" if row.text[-1].isspace() else " "
            asked += [(row.text, f"{gap}{label}</s>") for label in LABELS]

        theirs = harness.loglikelihood(
            [Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=i) for i, pair in enumerate(asked)], disable_tqdm=True
        )
        ours = Scorer(backbone, trie_of(frame)).score([row.ids for row in rows]).answers.flatten().tolist()

        for mine, (their, _) in zip(ours, theirs, strict=True):
            assert mine == pytest.approx(their, abs=1e-4)
