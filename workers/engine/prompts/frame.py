"""The declared frame around a row: template, chat template, demonstrations, row and answer cue -> text -> token ids.

Every approach reads its rows through this one module. It knows the tokenizer and no model weights. Layout of a sequence:
[virtual tokens][start ids][template text][row][answer], where a tuned prompt may stand in place of the template text.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workers.engine.contract.spec import Item, RunSpec
from workers.engine.contract.template_spec import Demonstration, TemplateSpec, fill
from workers.engine.errors import BadData, BadSpec
from workers.engine.model.backbone import Backbone
from workers.engine.passes.answers import Answer, AnswerTrie, build_trie
from workers.engine.prompts.control_tokens import ControlTokens

# Rows that begin in very different ways: what their encodings share is the template's own text, not an accident of the data.
_PROBES = ("a", "The", "9", "Zq", "?", "(", "é", "我", "\n\n", "  x")

_MARK = "\ue000"

# Demonstrations as text: each row's question and its answer.
Shown = Sequence[tuple[str, str]]
ExamplesOf = Callable[[Sequence[Item]], Sequence[Sequence[Demonstration]]]


@dataclass(frozen=True)
class EncodedRow:
    """One row inside its frame.

    Args:
        ids: context ids without virtual tokens and without the answer.
        fixed_tokens, row_tokens: how many of them belong to the frame and to the row.
        text: the rendered prompt.
        error: why the row cannot be run (it is then skipped and counted), or None.
    """

    item: Item
    ids: tuple[int, ...]
    fixed_tokens: int
    row_tokens: int
    text: str
    error: str | None = None


class Frame:
    """Renders and encodes rows for one template on one backbone.

    Args:
        spec: the run; its template, labels, answer words and rule for long rows are used.
        backbone: the tokenizer, start ids and window.
        reserved: positions that virtual tokens will take.
        replaced: the text before the row is left out, because learned vectors stand in its place.
        examples_of: finds the examples of each row where every row has its own; they follow the template's. Only the text before
            them is then shared by all rows.
    """

    def __init__(
        self, spec: RunSpec, backbone: Backbone, reserved: int = 0, replaced: bool = False, *, examples_of: ExamplesOf | None = None
    ) -> None:
        self.spec = spec
        self.template = spec.template
        self.backbone = backbone
        self.tokenizer = backbone.tokenizer
        self.reserved = reserved
        self.longest = 0
        self.is_chat = _wants_chat(spec.template, backbone)
        self._control = ControlTokens(self.tokenizer, active=self.is_chat)
        self.examples_of = examples_of
        self.warnings: list[str] = []
        self._demonstrations = self._render_demonstrations(spec.template.demonstrations)
        opening = self._written(dict.fromkeys(self.template.slots(), _MARK)).split(_MARK)[0].rstrip()
        self.opening_text = self._control.show(opening)
        self.opening_ids = self._opening_ids(opening)
        self.replaced = replaced
        self._fixed_tokens = self._count_fixed(())
        self.trie = self._build_trie() if spec.labels and spec.task == "classification" else None

    def check_columns(self, items: Sequence[Item]) -> None:
        """Refuse a prompt that asks for a column the data lacks.

        Raises:
            BadData: names the slot and the columns there are.
        """
        for number, item in enumerate(items, 1):
            missing = sorted(self.template.slots() - set(item.fields))
            if missing:
                columns = ", ".join(sorted(item.fields)) or "none"
                raise BadData(f"The prompt asks for {{{{{missing[0]}}}}}, but row {number:,} has no such column. Its columns: {columns}.")

    def render(self, fields: Mapping[str, str], own: Shown = ()) -> str:
        """The whole prompt of one row as text, trailing whitespace included.

        Args:
            own: examples that belong to this row alone; they stand behind the template's.
        """
        return self._control.show(self._written(fields, own))

    def _written(self, fields: Mapping[str, str], own: Shown = ()) -> str:
        """The prompt with marks where people or data spell control tokens, to be encoded."""
        shown = (*self._demonstrations, *own)
        user = fill(self.template.user, fields)
        cue = fill(self.template.answer_cue, fields)
        system = fill(self.template.system, fields)
        if self.is_chat:
            return self._render_chat(system, user, cue, shown)
        parts = [system + "\n\n"] if system else []
        parts += [f"{question}{answer}\n\n" for question, answer in shown]
        return "".join(parts) + user + cue

    def encode(self, items: Sequence[Item]) -> list[EncodedRow]:
        """Encode rows; too long ones are refused, cut or marked, as the run says.

        Raises:
            BadData: a column is missing, or a row is too long and the run refuses such rows.
        """
        self.check_columns(items)
        examples = self.examples_of(items) if self.examples_of else [()] * len(items)
        owned: list[Shown] = [self._render_demonstrations(each) for each in examples]
        texts = [self._written(item.fields, own) for item, own in zip(items, owned, strict=True)]
        encoded = self._encode_all([self._body(text) for text in texts])
        rows: list[EncodedRow] = []
        cut = fewer = 0
        for item, text, ids, own in zip(items, texts, encoded, owned, strict=True):
            fixed = self._count_fixed(own) if own else self._fixed_tokens
            row = self._row(item, text, [*self.start_ids(), *ids], fixed)
            if own and len(row.ids) > self.room():
                row, own, fixed = self._with_fewer_examples(item, own)
                fewer += 1
            if len(row.ids) > self.room():
                row = self._too_long(row, own, fixed)
                cut += row.error is None
            rows.append(row)
        self.longest = max([self.longest, *(len(row.ids) for row in rows)])
        if fewer:
            self.warnings.append(f"{fewer:,} rows were too long with all their examples; those least like them were left out.")
        if cut:
            self.warnings.append(f"{cut:,} rows were too long; their column {self.spec.truncate_column!r} was cut to fit.")
        return rows

    def facts(self) -> dict[str, object]:
        """What fixes the token sequence around a row, for manifests and results."""
        return {
            "chat_template": self.is_chat,
            "chat_template_sha256": _sha256(str(self.tokenizer.chat_template)) if self.is_chat else None,
            "start_ids": list(self.start_ids()),
            "terminator_id": self.backbone.terminator_id,
            "template_text": "replaced" if self.replaced else self.spec.recipe.options.get("template_text", "kept"),
            "opening_tokens": len(self.opening_ids),
            "opening_sha256": _sha256(",".join(map(str, self.opening_ids))),
        }

    def room(self) -> int:
        """Context tokens that fit beside the virtual tokens and the longest answer."""
        answer = self.trie.longest() if self.trie else self.spec.generation.max_new_tokens + 1
        return self.backbone.window - self.reserved - answer

    def check_room(self) -> None:
        """Refuse a run in which no row has a token.

        Raises:
            BadSpec: virtual tokens, or the answer, take all that the model reads; the sentence says which.
        """
        if self.room() >= 1:
            return
        reads = f"leave no room for a row: the model reads {self.backbone.window:,} tokens."
        if self.room() + self.reserved >= 1:
            raise BadSpec(f"{self.reserved:,} virtual tokens {reads} Use fewer virtual tokens.")
        if self.trie:
            raise BadSpec(f"The {self.trie.longest():,} tokens of the longest answer {reads} Use shorter answer words.")
        raise BadSpec(f"The {self.spec.generation.max_new_tokens:,} tokens that a written text may have {reads} Allow fewer.")

    def answer_ids(self, word: str) -> tuple[int, ...]:
        """Ids of one answer as it follows the prompt, terminator included.

        The prompt's trailing spaces are encoded with the answer, since tokenizers merge a space into the word after it.
        """
        if self.backbone.is_encoder_decoder:  # the decoder's text begins with the answer
            return (*self._encode(word.strip()), self.backbone.terminator_id)
        context = self._written(dict.fromkeys(self.template.slots(), "x"))
        body, tail = self._body(context), context[len(self._body(context)) :]
        continuation = self._control.hide(self.continuation(tail, word))
        whole = self._encode(body + continuation)
        return (*whole[len(self._encode(body)) :], self.backbone.terminator_id)

    def can_be_answered(self, item: Item) -> bool:
        """Whether the row's reference is no longer than a written answer may be. Labels always fit."""
        most = self.spec.generation.max_new_tokens
        # A token stands for at least one byte, a leading space may be one more: most references need not be encoded.
        return self.trie is not None or len(item.label.encode()) < most or len(self.answer_ids(item.label)) - 1 <= most

    def answers_of(self, label: str) -> list[Answer]:
        """The answers that stand for a label, its first word first."""
        assert self.trie is not None, "only classification has a trie of answers"
        return [answer for answer in self.trie.answers if answer.label == label]

    def continuation(self, tail: str, word: str) -> str:
        """The text that follows the stripped prompt: its trailing whitespace, or one space, then the word."""
        if tail or word[:1].isspace():
            return tail + word
        return " " + word

    def _build_trie(self) -> AnswerTrie:
        spec = self.spec
        answers = [Answer(label, word, self.answer_ids(word)) for label in spec.labels for word in dict.fromkeys(spec.words_of(label))]
        for answer in answers:
            if len(answer.ids) < 2:
                raise BadSpec(f"The answer word {answer.word!r} of {answer.label!r} has no token in this model. Choose another word.")
        return build_trie(answers)

    def _body(self, text: str) -> str:
        return text.rstrip()

    def _encode(self, text: str) -> list[int]:
        return self._encode_all([text])[0]

    def _encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:  # tokenizers fail on none
            return []
        return self.backbone.encoded.ids_of(texts, f"chat {self.is_chat}", self._encode_anew)

    def _encode_anew(self, texts: Sequence[str]) -> list[list[int]]:
        # A row that spells a control token must not steer the model. A chat template's own control tokens have to be read.
        shown = [self._control.show(text) for text in texts]
        encoded = self.tokenizer(shown, add_special_tokens=False, split_special_tokens=not self.is_chat)["input_ids"]
        pairs = zip(texts, encoded, strict=True)
        return [self._control.encode(text) if self._control.is_hidden_in(text) else list(ids) for text, ids in pairs]

    def start_ids(self) -> tuple[int, ...]:
        """Special ids before the text. BOS is never left to a tokenizer's default."""
        # A chat template writes its own start token.
        return () if self.is_chat else self.backbone.start_ids

    def _opening_ids(self, opening: str) -> tuple[int, ...]:
        """Ids that rows begin with whatever their text: start ids and the template's text before the row.

        A space before the row is left out, because tokenizers merge it into the row's first word.
        """
        slots = self.template.slots()
        shown = [self._body(self._written(dict.fromkeys(slots, probe))) for probe in _PROBES]
        return (*self.start_ids(), *common_prefix([self._encode(text) for text in (opening, *shown)]))

    def _count_fixed(self, own: Shown) -> int:
        """Tokens of the prompt around an empty row, start ids left out."""
        return len(self._encode(self._body(self._written(dict.fromkeys(self.template.slots(), ""), own))))

    def _row(self, item: Item, text: str, ids: Sequence[int], fixed: int) -> EncodedRow:
        fixed = min(fixed + len(self.start_ids()), len(ids))
        row_tokens = len(ids) - fixed
        if self.replaced:
            opening = len(common_prefix([ids, self.opening_ids]))
            # A row without any token of its own still needs a position to predict from.
            opening = min(opening, len(ids) - 1)
            ids, fixed = ids[opening:], max(0, fixed - opening)
        error = None if ids else f"Row {item.id} is empty and the prompt adds no text, so there is nothing to answer."
        return EncodedRow(item, tuple(ids), fixed, row_tokens, self._control.show(text), error)

    def _with_fewer_examples(self, item: Item, own: Shown) -> tuple[EncodedRow, Shown, int]:
        """The row with as many of its own examples as fit, those examples, and the tokens around the row. The least alike stand first."""
        row: EncodedRow | None = None
        fixed = 0
        while row is None or (own and len(row.ids) > self.room()):
            own = own[1:]
            text, fixed = self._written(item.fields, own), self._count_fixed(own)
            row = self._row(item, text, [*self.start_ids(), *self._encode(self._body(text))], fixed)
        return row, own, fixed

    def _too_long(self, row: EncodedRow, own: Shown, fixed: int) -> EncodedRow:
        self.check_room()
        sentence = (
            f"Row {row.item.id} has {len(row.ids) + self.reserved:,} tokens with its prompt; the model reads at most "
            f"{self.room() + self.reserved:,} before the answer."
        )
        if self.spec.too_long == "truncate":
            return self._truncate(row, sentence, own, fixed)
        if self.spec.too_long == "skip":
            return EncodedRow(row.item, (), row.fixed_tokens, row.row_tokens, row.text, sentence)
        raise BadData(sentence + " Shorten it, or choose to cut or to skip long rows.")

    def _truncate(self, row: EncodedRow, sentence: str, own: Shown, fixed: int) -> EncodedRow:
        """Cut one column from its end until the row fits: a search over its length in characters."""
        column = self.spec.truncate_column
        value = row.item.fields[column]
        low, high = -1, len(value)
        best: EncodedRow | None = None
        while high - low > 1:
            middle = (low + high) // 2
            text = self._written({**row.item.fields, column: value[:middle]}, own)
            shorter = self._row(row.item, text, [*self.start_ids(), *self._encode(self._body(text))], fixed)
            if len(shorter.ids) <= self.room():
                low, best = middle, shorter
            else:
                high = middle
        if best is None:
            raise BadData(sentence + f" Even an empty {column!r} does not fit; shorten the prompt.")
        return best

    def _render_demonstrations(self, demonstrations: Sequence[Demonstration]) -> list[tuple[str, str]]:
        rendered = []
        for shown in demonstrations:
            missing = sorted(self.template.slots() - set(shown.fields))
            if missing:
                raise BadSpec(f"A demonstration lacks the column {missing[0]!r} that the prompt asks for.")
            if self.spec.labels and shown.label not in self.spec.labels:
                raise BadSpec(f"A demonstration has the label {shown.label!r}, which is not one of the labels.")
            cue = fill(self.template.answer_cue, shown.fields)
            words = self.spec.words_of(shown.label)[0]
            if self.is_chat:
                rendered.append((fill(self.template.user, shown.fields), f"{cue}{self._gap(cue)}{words}"))
            else:
                text = fill(self.template.user, shown.fields) + cue
                rendered.append((text, f"{self._gap(text)}{words}"))
        return rendered

    def _gap(self, text: str) -> str:
        return "" if not text or text[-1].isspace() else " "

    def _render_chat(self, system: str, user: str, cue: str, shown: Shown) -> str:
        hide = self._control.hide
        messages = [{"role": "system", "content": hide(system)}] if system else []
        for question, answer in shown:
            messages += [{"role": "user", "content": hide(question)}, {"role": "assistant", "content": hide(answer)}]
        messages.append({"role": "user", "content": hide(user)})
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text) + hide(cue)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def common_prefix(sequences: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The longest run of ids that all sequences begin with."""
    if not sequences:
        return ()
    shortest = min(sequences, key=len)
    for index, token in enumerate(shortest):
        if any(sequence[index] != token for sequence in sequences):
            return tuple(shortest[:index])
    return tuple(shortest)


def _wants_chat(template: TemplateSpec, backbone: Backbone) -> bool:
    has_chat = bool(getattr(backbone.tokenizer, "chat_template", None))
    if template.use_chat_template and not has_chat:
        raise BadSpec("The run asks for a chat template, but the tokenizer of this model has none.")
    return has_chat if template.use_chat_template is None else template.use_chat_template
