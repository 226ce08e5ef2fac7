"""Context-aware prompt tuning: which token of a written prompt is format, example or answer, and the loss on its own answers.

PEFT numbers the kinds of an example's tokens 1 to 4 (text around the row, the row, text around the answer, the answer) and adds 4
for each example before it. Answers stay as they are, everything else may move a little.
Source: Blau et al. 2024, Context-aware Prompt Tuning (arXiv 2410.17222); held to PEFT's loss by its tests.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from peft import CPTConfig
from torch import nn
from transformers import PreTrainedModel

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.contract.template_spec import slot_names
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.methods.tuned import OwnLoss
from workers.engine.model.backbone import Backbone
from workers.engine.passes.prefix import Virtual
from workers.engine.prompts.draws import draw_examples, shown
from workers.engine.prompts.frame import Frame

_KINDS = 4
_BEFORE, _ROW, _AROUND_ANSWER, _ANSWER = 1, 2, 3, 4


@dataclass(frozen=True)
class Context:
    """The written prompt as tokens, each with its kind."""

    ids: tuple[int, ...]
    kinds: tuple[int, ...]


def context_tokens(frame: Frame) -> Context:
    """The text before the row, token by token; a token belongs to the kind of its last character, since spaces lead.

    Raises:
        BadSpec: there is no text before the row.
        Unsupported: the tokenizer cannot say which characters a token stands for.
    """
    start = frame.start_ids()
    count = len(frame.opening_ids) - len(start)
    if count < 1:
        raise BadSpec(
            "Context-aware prompt tuning starts from the prompt's text, but there is none before the row. Write some, or show examples."
        )
    if not frame.tokenizer.is_fast:
        raise Unsupported("The tokenizer of this model does not say which characters its tokens stand for. Choose a soft prompt.")
    encoded = frame.tokenizer(
        frame.opening_text, add_special_tokens=False, split_special_tokens=not frame.is_chat, return_offsets_mapping=True
    )
    characters = _character_kinds(frame)
    kinds = [characters[max(end - 1, 0)] for _, end in encoded["offset_mapping"][:count]]
    return Context(frame.opening_ids, tuple([_BEFORE] * len(start) + kinds))


def _character_kinds(frame: Frame) -> list[int]:
    """The kind of every character of the text before the row."""
    text = frame.opening_text
    kinds = [_BEFORE] * len(text)
    cursor = 0
    for number, example in enumerate(frame.template.demonstrations):
        base = _KINDS * number
        begin = cursor
        for value in [example.fields[name] for name in slot_names(frame.template.user) if example.fields[name].strip()]:
            at = text.find(value, cursor)
            if at < 0:  # a chat template may rewrite a row; its tokens then count as text around it
                continue
            kinds[cursor:at] = [base + _BEFORE] * (at - cursor)
            cursor = at + len(value)
            kinds[at:cursor] = [base + _ROW] * len(value)
        word = frame.spec.words_of(example.label)[0] if frame.spec.labels else example.label
        at = text.find(word, cursor)
        if at < 0:
            kinds[begin:] = [base + _BEFORE] * (len(text) - begin)
            return kinds
        kinds[cursor:at] = [base + _AROUND_ANSWER] * (at - cursor)
        cursor = at + len(word)
        kinds[at:cursor] = [base + _ANSWER] * len(word)
    kinds[cursor:] = [_KINDS * len(frame.template.demonstrations) + _BEFORE] * (len(text) - cursor)
    return kinds


def context_loss(model: PreTrainedModel, config: CPTConfig, virtual: Virtual) -> OwnLoss | None:
    """Loss on the answers inside the prompt, an older example weighing less than the one after it; None without examples.

    It does not depend on the rows of a batch, so it is run once and counts for every row.
    """
    assert virtual.vectors is not None, "context-aware prompt tuning learns vectors"
    kinds = torch.tensor(config.cpt_tokens_type_mask)
    answers = (kinds > 0) & (kinds % _KINDS == 0)
    answers[0] = False  # nothing stands before the first token to predict it from
    if not bool(answers.any()):
        return None
    device = virtual.vectors.device
    logits = model(
        inputs_embeds=virtual.vectors[None].to(model.dtype), use_cache=False, logits_to_keep=answers.roll(-1)[None].to(device)
    ).logits
    targets = torch.tensor(config.cpt_token_ids)[answers].to(device)
    examples = kinds[answers] // _KINDS
    losses = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    ranks = _ranks_from_the_end(examples.tolist())
    weights = torch.tensor([float(config.opt_loss_decay_factor) ** rank for rank in ranks], device=device)
    return OwnLoss((losses * weights).sum(), len(targets))


def _ranks_from_the_end(examples: Sequence[int]) -> list[int]:
    """1 for tokens of the last example, 2 for the one before it, and so on; the row's own answer would be 0."""
    order = sorted(set(examples), reverse=True)
    return [order.index(example) + 1 for example in examples]


def with_examples(spec: RunSpec, backbone: Backbone, rows: Sequence[Item], warnings: list[str]) -> RunSpec:
    """The run with train rows shown in its prompt, as many of each label as can be, when the prompt shows none itself.

    Args:
        rows: train rows; at most half of them are shown, so that there is something left to learn.
        warnings: hears when fewer rows fit than were asked for.
    """
    wanted = int(spec.recipe.options["context_examples"])  # type: ignore[arg-type]
    if spec.template.demonstrations or not wanted:
        return spec
    count, chosen = min(wanted, len(rows) // 2), []
    while count:
        chosen = draw_examples(rows, "balanced", count, spec.seed)
        tried = replace(spec, template=replace(spec.template, demonstrations=shown(chosen)))
        # The examples may fill half of what the model reads; the row needs the rest.
        if len(Frame(tried, backbone).opening_ids) <= backbone.window // 2:
            break
        count, chosen = count * 3 // 4, []
    if len(chosen) < wanted:
        warnings.append(
            f"The prompt that the vectors start from shows {len(chosen)} train rows, not {wanted}: no more fit or there are too few."
        )
    return tried if chosen else spec
