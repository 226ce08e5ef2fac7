"""What a person chooses for a second round: how often mistakes are shown, and which rows are wrong themselves."""

import uuid
from typing import Any

from django import forms

from experiments.planning.mistakes import USUAL_ODDS
from experiments.planning.second_rounds import MAX_ODDS, MAX_TIMES, USUAL_TIMES, RoundChoice


class OddsForm(forms.Form):
    """Which right answers count as close."""

    odds = forms.FloatField(
        min_value=1,
        max_value=MAX_ODDS,
        initial=USUAL_ODDS,
        label="Close calls",
        help_text="Right answers up to this many times as likely as the next label are shown more often too; 1 takes wrong answers only.",
    )

    def chosen(self) -> float:
        """The odds of a valid form, else the usual ones."""
        return float(self.cleaned_data["odds"]) if self.is_bound and self.is_valid() else USUAL_ODDS


class SecondRoundForm(OddsForm):
    """The launch. `left_out` are row ids that stand beside the rows on the page."""

    name = forms.CharField(max_length=120, label="Name")
    times = forms.IntegerField(
        min_value=2,
        max_value=MAX_TIMES,
        initial=USUAL_TIMES,
        label="Shown how often",
        help_text=f"Times as often as the other train rows, 2 to {MAX_TIMES}.",
    )
    has_control = forms.BooleanField(
        required=False,
        initial=True,
        label="Train the same without the focus beside it",
        help_text="It tells whether the mistakes helped or merely more steps did.",
    )
    left_out = forms.TypedMultipleChoiceField(required=False, coerce=int)
    key = forms.CharField(max_length=80, widget=forms.HiddenInput)

    def __init__(self, *args: Any, rows: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["odds"].widget = forms.HiddenInput()
        self.fields["left_out"] = forms.TypedMultipleChoiceField(required=False, coerce=int, choices=[(row, row) for row in rows])
        self.fields["key"].initial = str(uuid.uuid4())

    def choice(self) -> RoundChoice:
        """What a valid form asks for."""
        given = self.cleaned_data
        return RoundChoice(given["times"], given["odds"], tuple(given["left_out"]), given["has_control"], given["name"])
