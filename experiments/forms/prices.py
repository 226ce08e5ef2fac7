"""What things cost, as typed. An empty price is unknown, which is not zero."""

from datetime import date
from typing import Any

from django import forms

from experiments.models import PriceBook
from experiments.services.prices import PRICES

LABELS = {
    "device_hour": "Machine, per hour",
    "input_million_tokens": "Input, per million tokens",
    "output_million_tokens": "Output, per million tokens",
    "wrong_answer": "A wrong answer",
    "labelled_row": "Labelling a row",
    "person_hour": "A person, per hour",
}


class PriceForm(forms.ModelForm[PriceBook]):
    class Meta:
        model = PriceBook
        fields = ["name", "currency", "effective_on", *PRICES]
        labels = {"effective_on": "Valid from", **LABELS}
        widgets = {"effective_on": forms.DateInput(attrs={"type": "date"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["effective_on"].initial = date.today
        for name in PRICES:
            self.fields[name].widget.attrs |= {"min": "0", "placeholder": "unknown", "inputmode": "decimal"}

    @property
    def head_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("name", "currency", "effective_on")]

    @property
    def price_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in PRICES]
