"""What a report may show, and how long a link to it lives."""

from typing import Any

from django import forms

from experiments.services.reports import DEFAULT_DAYS, MAX_DAYS, MAX_NAME

DAYS = [(1, "a day"), (7, "a week"), (DEFAULT_DAYS, "30 days"), (90, "90 days"), (MAX_DAYS, "a year")]


class ReportForm(forms.Form):
    title = forms.CharField(max_length=160, label="Title")
    split = forms.ChoiceField(label="Rows")
    includes_prompts = forms.BooleanField(
        required=False, label="Include the wording of the prompts", help_text="Leave this off when visitors may not read your prompts."
    )
    includes_examples = forms.BooleanField(
        required=False,
        label="Include 20 rows with every answer",
        help_text="Rows of your data, readable for everyone with a link.",
    )

    def __init__(self, *args: Any, splits: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["split"] = forms.ChoiceField(label="Rows", choices=[(split, f"{split.capitalize()} rows") for split in splits])


class ShareForm(forms.Form):
    name = forms.CharField(
        max_length=MAX_NAME,
        required=False,
        label="For whom",
        widget=forms.TextInput(attrs={"placeholder": "Board meeting", "dir": "auto"}),
    )
    days = forms.TypedChoiceField(choices=DAYS, coerce=int, initial=DEFAULT_DAYS, label="The link ends after")
