"""A hosted endpoint as typed. The key goes one way: no page that is drawn again holds it."""

from typing import Any

from django import forms

from experiments.endpoints import EXAMPLE, LIMIT_RANGES, EndpointLimits
from experiments.models import Backbone, User
from experiments.services.endpoints import EndpointWish, endpoint_change

USUAL = EndpointLimits()


def limit_field(name: str, label: str, help_text: str) -> forms.IntegerField:
    low, high, _ = LIMIT_RANGES[name]
    usual = int(getattr(USUAL, name))
    return forms.IntegerField(label=label, help_text=help_text, required=False, min_value=low, max_value=high, initial=usual)


class EndpointFields(forms.Form):
    """What is said of an endpoint, whether it is new or known."""

    url = forms.CharField(
        label="Address",
        max_length=400,
        help_text=f"Where the API lies, such as {EXAMPLE}. Any server that speaks OpenAI's chat or completions API will do.",
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )
    model = forms.CharField(label="Model", max_length=200, help_text="As the endpoint calls it, such as gpt-4.1-mini.")
    key = forms.CharField(
        label="Key",
        max_length=600,
        required=False,
        strip=False,
        help_text="Kept sealed and never shown again, to nobody. Another address throws it away. Leave it empty where none is needed.",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password", "spellcheck": "false"}),
    )
    concurrency = limit_field("concurrency", "Calls at once", "How many rows are asked together, by all runs on this model.")
    requests_per_minute = limit_field(
        "requests_per_minute", "Calls a minute", "The most that your account allows, for all runs on this model; 0 sets no limit."
    )
    timeout_seconds = limit_field("timeout_seconds", "Seconds an answer", "After so long an answer is given up and asked for again.")
    answer_tokens = limit_field("answer_tokens", "Tokens an answer", "A model that thinks before it answers needs a thousand or more.")

    @property
    def limit_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in LIMIT_RANGES]

    def wish(self, key: str | None) -> EndpointWish:
        typed = self.cleaned_data
        limits = {name: typed[name] for name in LIMIT_RANGES if typed[name] is not None}
        return EndpointWish(url=typed["url"], model=typed["model"], key=key, limits=limits)


class EndpointForm(EndpointFields):
    """A known endpoint, to be changed."""

    name = forms.CharField(max_length=120)
    forget_key = forms.BooleanField(label="Throw the kept key away", required=False)

    def __init__(self, *args: Any, backbone: Backbone, **kwargs: Any) -> None:
        known = {"name": backbone.name, "url": backbone.source, "model": backbone.remote_model, **backbone.limits}
        super().__init__(*args, **kwargs)
        self.initial = known
        self.fields["key"].label = "New key"
        self.fields["key"].help_text = "Leave it empty to keep the one there is. Another address throws that away."

    def change(self, backbone: Backbone, by: User) -> bool:
        """Hand the cleaned input to the service; returns whether the key went with the old address. Raises UserError."""
        typed = self.cleaned_data
        key = "" if typed["forget_key"] and not typed["key"] else typed["key"] or None
        return endpoint_change(backbone=backbone, name=typed["name"], wish=self.wish(key), by=by)
