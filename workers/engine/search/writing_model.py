"""The backbone as DSPy's searches ask it: one prompt on one row by the one scoring path, and free text after a conversation.

Every answer is remembered on disk, so that a search that was stopped goes through the same answers again without the model.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from workers.engine.answering.generation import Generator, predict_texts
from workers.engine.answering.predicting import predict_labels
from workers.engine.answering.scoring import Scorer
from workers.engine.contract.answer_rules import Generation
from workers.engine.contract.spec import Item, Recipe, RunSpec
from workers.engine.contract.template_spec import TemplateSpec
from workers.engine.errors import BadSpec, Unsupported
from workers.engine.figures.metrics import label_shares, log_loss_of
from workers.engine.figures.text_quality import exact_match, token_f1
from workers.engine.model.backbone import Backbone
from workers.engine.prompts.control_tokens import ControlTokens
from workers.engine.prompts.frame import Frame
from workers.engine.search.candidate import hash_of
from workers.engine.search.optimising import Memory, Message, Said


@dataclass
class WritingModel:
    """A backbone that was trained to follow instructions.

    Args:
        spec: the run whose prompt is searched for.
        plain_reason: why rows must be run whole, or None.
    Raises:
        Unsupported: its tokenizer has no chat template, so it was not trained to follow instructions.
    """

    spec: RunSpec
    backbone: Backbone
    memory: Memory
    plain_reason: str | None = None
    asked: Counter[str] = field(default_factory=Counter)
    frame: tuple[TemplateSpec, Frame] | None = None

    def __post_init__(self) -> None:
        if not getattr(self.backbone.tokenizer, "chat_template", None):
            raise Unsupported(
                "This model cannot write instructions: its tokenizer has no chat template, so it was not trained to follow any. "
                "Choose a model that was, or leave this search out."
            )

    def answer(self, template: TemplateSpec, item: Item) -> Said:
        """One prompt on one row: one evaluation. A row that does not fit counts as wrong."""
        known = self.memory.recall(
            ["answer", asdict(template), dict(item.fields), item.label], lambda: asdict(self._answer(self._frame(template), item))
        )
        return Said(**known)

    def write(self, messages: Sequence[Message], most_tokens: int, temperature: float) -> str:
        """Free text after a conversation. The same conversation again draws another text.

        Raises:
            BadSpec: it does not fit into the model.
        """
        said = [dict(message) for message in messages]
        self.asked[hash_of(said)] += 1
        time_asked = self.asked[hash_of(said)]
        return str(self.memory.recall(["write", said, time_asked], lambda: self._write(said, most_tokens, temperature, time_asked)))

    def _frame(self, template: TemplateSpec) -> Frame:
        """Of the prompt that was asked last: DSPy asks one prompt about many rows."""
        if self.frame is None or self.frame[0] != template:
            spec = replace(self.spec, template=template, recipe=Recipe(), too_long="skip", truncate_column="")
            self.frame = template, Frame(spec, self.backbone)
        return self.frame[1]

    def _answer(self, frame: Frame, item: Item) -> Said:
        started = time.perf_counter()
        if frame.trie is None:
            said = predict_texts(frame, Generator(self.backbone, self.spec.generation, plain_reason=self.plain_reason), [item])[0]
            right, score = exact_match(said.text, item.label), token_f1(said.text, item.label)
        else:
            said = predict_labels(frame, Scorer(self.backbone, frame.trie, plain_reason=self.plain_reason), [item])[0]
            right = said.is_correct
            score = float(right)
        if said.error is not None:
            right, score = False, 0.0
        loss = log_loss_of(label_shares(said.loglikelihoods), item.label) if said.loglikelihoods else None
        return Said(said.predicted or said.text, bool(right), score, said.prompt_tokens, time.perf_counter() - started, loss)

    def _write(self, messages: Sequence[dict[str, str]], most_tokens: int, temperature: float, seed: int) -> str:
        ids = self._encode(messages)
        room = self.backbone.window - len(ids) - 1
        if room < 1:
            raise BadSpec(
                f"DSPy asks the model with {len(ids):,} tokens, more than the {self.backbone.window:,} that it can hold. "
                "Choose a model with a longer window, or shorter rows."
            )
        rules = Generation(min(most_tokens, room), temperature, seed=seed, stop=())
        writer = Generator(self.backbone, rules, plain_reason=self.plain_reason)
        return writer.text_of(writer.write([ids], [hash_of(list(messages))])[0][0])

    def _encode(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """A conversation as the model was trained on; control tokens that rows spell stay text."""
        control = ControlTokens(self.backbone.tokenizer, active=True)
        hidden = [{**message, "content": control.hide(message["content"])} for message in messages]
        text = str(self.backbone.tokenizer.apply_chat_template(hidden, tokenize=False, add_generation_prompt=True))
        ids: Any = (
            control.encode(text) if control.is_hidden_in(text) else self.backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        )
        return list(ids)
