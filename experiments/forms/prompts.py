"""What people type about prompts. Reads the rows of examples that are chosen; writes nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from experiments.models import DatasetVersion
from experiments.models.datasets import Task
from experiments.prompting.chains import MAX_TOKENS, STEP_SLOT, FirstStep, first_step_problems, steps_problems
from experiments.prompting.wording import MAX_DEMONSTRATIONS, MAX_TEXT, PromptWording
from experiments.reads.prompts import demonstrations_draw
from experiments.services.prompts import BadPrompt, demonstrations_of, shape_of

WORDS_APART = "|"
LISTED_LABELS = 30
# Buttons that change the form instead of saving it.
EDITS = ("add", "remove", "draw", "find", "switch")


class PromptDetailsForm(forms.Form):
    """What a prompt is called."""

    name = forms.CharField(max_length=120)
    description = forms.CharField(required=False, max_length=5_000, widget=forms.Textarea(attrs={"rows": 2}))


class PromptForm(forms.Form):
    """The editor: the words of a prompt for one version of some data."""

    name = forms.CharField(max_length=120, help_text="Such as “Careful wording”. Versions are numbered by themselves.")
    user = forms.CharField(
        label="Prompt",
        max_length=MAX_TEXT * 2,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 7, "dir": "auto", "spellcheck": "true", "data-slots": ""}),
        error_messages={"required": "Write what the model should do, with a slot where the row’s text goes."},
    )
    answer_cue = forms.CharField(
        label="Beginning of the answer",
        required=False,
        max_length=200,
        help_text="The words right before the answer, on a line of their own, such as “Queue:”.",
    )
    system = forms.CharField(
        label="System text",
        required=False,
        max_length=MAX_TEXT * 2,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto", "data-slots": ""}),
        help_text="Comes before everything else. Chat models get it as their system message.",
    )
    first_text = forms.CharField(
        label="What the model writes first",
        required=False,
        max_length=MAX_TEXT * 2,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "dir": "auto", "spellcheck": "true", "data-slots": ""}),
        help_text=f"Such as “Summarise the complaint in ten words: {{{{text}}}}”. Its text stands in the prompt as {STEP_SLOT}. "
        "Left empty, the model answers in one step.",
    )
    first_tokens = forms.IntegerField(
        label="At most so many tokens",
        required=False,
        min_value=1,
        max_value=MAX_TOKENS,
        widget=forms.TextInput(attrs={"placeholder": str(FirstStep.max_tokens), "inputmode": "numeric"}),
        help_text="What it writes is cut there. Every row pays for it in time or money.",
    )
    first_one_line = forms.BooleanField(required=False, initial=True, label="It ends with its line")
    first_stop = forms.CharField(
        label="Further stop texts",
        required=False,
        max_length=2_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Texts at which it ends, one a line; they are not part of it.",
    )
    note = forms.CharField(label="What changed", required=False, max_length=200, help_text="For whoever reads the versions later.")

    def __init__(
        self, data: QueryDict | None = None, *, version: DatasetVersion | None, wording: PromptWording | None = None, is_new: bool = True
    ) -> None:
        super().__init__(data, initial=_initial(wording or first_wording(version)))
        self.version = version
        self.labels: Sequence[str] = version.labels if version and version.task == Task.CLASSIFICATION else []
        given = wording.answer_words if wording else {}
        for index, label in enumerate(self.labels):
            self.fields[f"word-{index}"] = forms.CharField(
                required=False,
                max_length=1_000,
                initial=f" {WORDS_APART} ".join(given.get(label, [])),
                label=label,
                widget=forms.TextInput(attrs={"placeholder": label, "dir": "auto"}),
            )
        if not is_new:
            del self.fields["name"]
        self.demonstrations = self._demonstrations(wording)

    @property
    def is_edit(self) -> bool:
        """Whether a button was pressed that changes the form instead of saving it."""
        return self.is_bound and any(name in self.data for name in EDITS)

    def words(self) -> Iterator[forms.BoundField]:
        """The fields of the answer words, a label each."""
        return (self[f"word-{index}"] for index in range(len(self.labels)))

    @property
    def has_words(self) -> bool:
        return any(field.value() for field in self.words())

    def wording(self) -> PromptWording:
        """The words as they stand in the form, valid or not."""
        words = {
            label: [word.strip() for word in (self[f"word-{index}"].value() or "").split(WORDS_APART) if word.strip()]
            for index, label in enumerate(self.labels)
        }
        return PromptWording(
            user=self["user"].value() or "",
            system=self["system"].value() or "",
            answer_cue=self["answer_cue"].value() or "",
            answer_words={label: given for label, given in words.items() if given},
            demonstrations=self.demonstrations,
            first_step=self._first_step(),
        ).ordered()

    @property
    def has_first_step(self) -> bool:
        return bool((self["first_text"].value() or "").strip())

    def first_step_fields(self) -> list[forms.BoundField]:
        """The fields of the step before the answer."""
        return [self[name] for name in ("first_text", "first_tokens", "first_one_line", "first_stop")]

    def _first_step(self) -> FirstStep | None:
        text, tokens = self["first_text"].value() or "", str(self["first_tokens"].value() or FirstStep.max_tokens).strip()
        if not text.strip():
            return None
        lines = (self["first_stop"].value() or "").splitlines()
        stop = (*(["\n"] if self["first_one_line"].value() else []), *(line for line in lines if line))
        return FirstStep(text, int(tokens) if tokens.isdecimal() and len(tokens) < 10 else 0, stop)

    def _demonstrations(self, wording: PromptWording | None) -> list[dict[str, Any]]:
        """The chosen examples after the button that was pressed; rows that are gone or not train rows fall out."""
        if self.version is None:
            return []
        if not self.is_bound:
            return [dict(shown) for shown in (wording.demonstrations if wording else [])]
        assert isinstance(self.data, QueryDict)
        ids = _ids(self.data.getlist("demonstration"))
        if per_label := _ids([self.data.get("draw", "")]):
            ids = demonstrations_draw(self.version, per_label=min(per_label[0], 16), seed=(_ids([self.data.get("seed", "")]) or [0])[0])
        gone = _ids(self.data.getlist("remove"))
        ids = [pk for pk in [*ids, *_ids(self.data.getlist("add"))] if pk not in gone]
        kept = set(self.version.examples.filter(pk__in=ids, split="train").values_list("pk", flat=True))
        return demonstrations_of(self.version, [pk for pk in ids if pk in kept][:MAX_DEMONSTRATIONS])

    def add_problems(self, error: Exception) -> None:
        """Show a refusal of the service, one sentence a line, beside the text whose slots it is about."""
        fields = self._slot_problems()
        for sentence in error.problems if isinstance(error, BadPrompt) else [str(error)]:
            self.add_error(fields.get(sentence), sentence)

    def _slot_problems(self) -> dict[str, str]:
        """{sentence: field} of what each text would be refused for if it stood alone; the prompt itself answers for all others."""
        if self.version is None:
            return {}
        wording, shape = self.wording(), shape_of(self.version)
        first, data = wording.first_step, {"columns": shape.columns, "hidden": shape.hidden}
        texts = {"answer_cue": wording.answer_cue, "system": wording.system, "user": wording.user}
        fields = {sentence: name for name, text in texts.items() for sentence in steps_problems(first, [text], **data)}
        return fields | dict.fromkeys(first_step_problems(first, [STEP_SLOT], **data) if first else (), "first_text")


def first_wording(version: DatasetVersion | None) -> PromptWording:
    """A plain prompt to begin from, so that the first page is not an empty one."""
    if version is None:
        return PromptWording(user="")
    slots = "\n".join(f"{column.capitalize()}: {{{{{column}}}}}" for column in version.columns)
    if version.task != Task.CLASSIFICATION:
        return PromptWording(user=f"Answer in a few words taken from the text.\n\n{slots}", answer_cue="Answer:")
    choices = f" Choose from: {', '.join(version.labels)}." if len(version.labels) <= LISTED_LABELS else ""
    return PromptWording(user=f"Decide what the text is about.{choices}\n\n{slots}", answer_cue="Answer:")


def _initial(wording: PromptWording) -> dict[str, Any]:
    first = wording.first_step
    return {
        "user": wording.user,
        "system": wording.system,
        "answer_cue": wording.answer_cue.lstrip("\n"),
        "first_text": first.text if first else "",
        "first_tokens": first.max_tokens if first else None,
        "first_one_line": "\n" in first.stop if first else True,
        "first_stop": "\n".join(stop for stop in first.stop if stop != "\n") if first else "",
    }


def _ids(values: Sequence[str]) -> list[int]:
    return [int(value) for value in values if value.isdecimal() and len(value) < 19]
