"""What things cost, as typed. An empty price is unknown, which is not zero."""

from datetime import date

from django import forms

from experiments.services.prices import PRICES


class PriceField(forms.DecimalField):
    def __init__(self, *, label: str, help_text: str) -> None:
        super().__init__(
            label=label,
            help_text=help_text,
            required=False,
            min_value=0,
            max_digits=14,
            decimal_places=6,
            widget=forms.NumberInput(attrs={"placeholder": "unknown", "inputmode": "decimal"}),
        )


class PriceForm(forms.Form):
    name = forms.CharField(max_length=80)
    currency = forms.CharField(min_length=3, max_length=3, initial="USD")
    effective_on = forms.DateField(
        label="Valid from",
        initial=date.today,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="From midnight UTC on.",
    )
    device_hour = PriceField(label="Machine, per hour", help_text="The machine or accelerator that tunes and serves.")
    input_million_tokens = PriceField(
        label="Input, per million tokens", help_text="Billed input tokens of a hosted model, cached ones too."
    )
    output_million_tokens = PriceField(label="Output, per million tokens", help_text="Billed output tokens of a hosted model.")
    wrong_answer = PriceField(label="A wrong answer", help_text="What one wrong answer costs the business.")
    labelled_row = PriceField(label="Labelling a row", help_text="One row, labelled by a person.")
    person_hour = PriceField(label="A person, per hour", help_text="Somebody who writes prompts.")

    @property
    def head_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("name", "currency", "effective_on")]

    @property
    def price_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in PRICES]
