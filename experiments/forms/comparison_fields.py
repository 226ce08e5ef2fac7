"""The comparison form's own fields: rows that say what they are when they are offered, seeds, and the dials of an approach."""

import json
from typing import Any

from django import forms

from experiments.catalogue.kinds import RecipeOption
from experiments.models import Artifact, DatasetVersion, TemplateVersion
from experiments.planning.starts import start_name
from experiments.wording import counted


class DataSelect(forms.Select):
    """Each choice says its task and its columns, so that the page shows only what matters for the chosen data."""

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(name, value, *args, **kwargs)
        if version := getattr(value, "instance", None):
            about = {"data-task": version.task, "data-dataset": version.dataset_id, "data-columns": json.dumps(version.columns)}
            option["attrs"] |= about
        return option


class PromptSelect(forms.CheckboxSelectMultiple):
    """Each choice says which data it was written for, so that other data ticks other prompts."""

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(name, value, *args, **kwargs)
        if version := getattr(value, "instance", None):
            option["attrs"] |= {"data-written-for": version.template.dataset_id or "", "data-newest": version.is_newest}
        return option


class DatasetVersionField(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's class takes no argument at run time
    def label_from_instance(self, obj: DatasetVersion) -> str:
        labels = f", {counted(len(obj.labels), 'label')}" if obj.labels else ""
        return f"{obj} ({counted(obj.num_rows, 'row')}{labels})"


class PromptField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    def label_from_instance(self, obj: TemplateVersion) -> str:
        shown, data = len(obj.demonstrations), obj.template.dataset
        facts = [f"written for {data}" if data else "", f"{counted(shown, 'example')} shown" if shown else ""]
        said = ", ".join(filter(None, facts))
        return f"{obj} ({said})" if said else str(obj)


class SeedsField(forms.CharField):
    """Whole numbers, comma-separated."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value) or ""
        try:
            return tuple(int(part) for part in text.replace(",", " ").split())
        except ValueError as error:
            raise forms.ValidationError("Seeds are whole numbers with commas between them, such as 0, 1.") from error

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, tuple | list) else value


def start_field(artifacts: list[Artifact]) -> forms.Field:
    """A choice among tuned prompts of the library, the newest first."""
    choices = [("", "its own start"), *((str(artifact.pk), start_name(artifact)) for artifact in artifacts)]
    return forms.ChoiceField(
        required=False,
        label="Tuned prompt to start from",
        choices=choices,
        help_text="Training goes on from what another run has learned, on the same model and of the same size. It helps most where rows "
        "are few and the tasks alike.",
    )


def option_field(option: RecipeOption) -> forms.Field:
    """A form field of one dial: its range as help, its default as the placeholder. The catalogue itself checks the value."""
    help_text = " ".join(filter(None, [option.help, f"{option.range_text}." if option.range_text else ""]))
    if option.choices:
        return forms.ChoiceField(required=False, label=option.label, choices=option.choices, initial=option.default, help_text=help_text)
    shown = option.by_model or ("all" if option.default is None else str(option.default))
    numeric = isinstance(option.default, int | float)
    attrs = {"placeholder": shown, "inputmode": "decimal" if numeric else "text"}
    return forms.CharField(required=False, max_length=2000, label=option.label, help_text=help_text, widget=forms.TextInput(attrs=attrs))
