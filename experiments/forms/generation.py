"""The part of the comparison form that says how free answers are written and which form they must keep."""

from typing import Any

from django import forms

from experiments.catalogue.generation import HELP, MAX_PATTERN, MAX_SCHEMA, RANGES, GenerationPlan, schema_read
from experiments.errors import UserError

DEFAULTS = GenerationPlan()
WRITING = ("max_new_tokens", "temperature", "top_p", "seed", "one_line", "stop")
FORM = ("json_schema", "pattern", "min_characters", "max_characters")


def _number(name: str, label: str, *, whole: bool = True) -> forms.Field:
    low, high = RANGES[name]
    attrs = {"placeholder": f"{getattr(DEFAULTS, name):g}", "inputmode": "numeric" if whole else "decimal"}
    help_text = f"{HELP[name]} {low:,g} to {high:,.10g}."
    about: dict[str, Any] = {"label": label, "help_text": help_text, "widget": forms.TextInput(attrs=attrs), "required": False}
    if whole:
        return forms.IntegerField(min_value=int(low), max_value=int(high), **about)
    return forms.FloatField(min_value=low, max_value=high, **about)


def _block(name: str, label: str, length: int) -> forms.CharField:
    widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})
    return forms.CharField(required=False, max_length=length, label=label, help_text=HELP[name], widget=widget, strip=False)


class GenerationForm(forms.Form):
    """Every field may stay empty, which keeps its default. `plan` is what a valid form asks for."""

    max_new_tokens = _number("max_new_tokens", "Longest answer, tokens")
    temperature = _number("temperature", "Temperature", whole=False)
    top_p = _number("top_p", "Top-p", whole=False)
    seed = _number("seed", "Seed of the draws")
    one_line = forms.BooleanField(
        required=False, initial=True, label="An answer ends with its line", help_text="Untick this where answers span several lines."
    )
    stop = _block("stop", "Further stop texts", 2_000)
    json_schema = _block("json_schema", "JSON schema", MAX_SCHEMA)
    pattern = forms.CharField(required=False, max_length=MAX_PATTERN, label="Pattern", help_text=HELP["pattern"])
    min_characters = _number("min_characters", "Fewest characters")
    max_characters = _number("max_characters", "Most characters")

    def writing(self) -> list[forms.BoundField]:
        """The fields about how an answer is written."""
        return [self[name] for name in WRITING]

    def form_fields(self) -> list[forms.BoundField]:
        """The fields about the form that an answer must keep."""
        return [self[name] for name in FORM]

    def clean_json_schema(self) -> dict[str, Any] | None:
        try:
            return schema_read(self.cleaned_data["json_schema"])
        except UserError as error:
            raise forms.ValidationError(str(error)) from error

    def plan(self) -> GenerationPlan:
        """The rules of a valid form."""
        said = self.cleaned_data
        given = {name: said[name] for name in RANGES if said.get(name) is not None}
        stops = [line for line in (said["stop"] or "").splitlines() if line]
        stop = tuple(dict.fromkeys([*(["\n"] if said["one_line"] else []), *stops]))
        return GenerationPlan(**given, stop=stop, json_schema=said["json_schema"], pattern=said["pattern"])

    def sentences(self) -> list[str]:
        """What is wrong with what was typed, each with the name of its field."""
        return [f"{self.fields[name].label}: {text}" for name, texts in self.errors.items() for text in texts]
