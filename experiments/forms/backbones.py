"""Where a model lies, as typed. Whether it may be used is for the service and a worker to say."""

from typing import Any

from django import forms
from django.conf import settings

from experiments.forms.endpoints import EndpointFields
from experiments.models import Backbone, User, Workspace
from experiments.services.backbones import backbone_register_hub, backbone_register_local
from experiments.services.endpoints import endpoint_register

DTYPES = [
    ("auto", "Automatic: bf16 where the machine is fast at it"),
    ("fp32", "fp32"),
    ("bf16", "bf16"),
    ("8bit", "8 bits (needs an NVIDIA GPU)"),
    ("4bit", "4 bits (needs an NVIDIA GPU)"),
]
# What each place needs; the fields of the others may stay empty.
NEEDED = {"local": ["folder"], "hub": ["hub_id", "revision"], "hosted": ["url", "model"]}


class BackboneForm(EndpointFields):
    """Only the places that this instance's operator allows are offered, and hosted endpoints."""

    use_required_attribute = False  # the browser cannot ask for a field that another place hides
    name = forms.CharField(max_length=120, help_text="How your team will call it.")
    place = forms.ChoiceField(label="Where it lies", choices=(), widget=forms.RadioSelect)
    folder = forms.CharField(max_length=400, help_text="Full path on the workers.")
    hub_id = forms.CharField(label="Hub id", max_length=200, help_text="Owner/model, such as HuggingFaceTB/SmolLM2-135M.")
    revision = forms.CharField(max_length=40, help_text="The full commit, 40 characters: a branch or tag could move.")
    dtype = forms.ChoiceField(label="Number format", choices=DTYPES, initial="auto")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        places = [("local", "A folder on the workers")] if settings.MODEL_FOLDERS else []
        places += [("hub", "The Hugging Face Hub")] if settings.HF_HUB_ALLOWED else []
        places += [("hosted", "A hosted endpoint")]
        self.fields["place"] = forms.ChoiceField(label="Where it lies", choices=places, widget=forms.RadioSelect, initial=places[0][0])
        if self.is_bound:
            for place, names in NEEDED.items():
                for name in names:
                    self.fields[name].required = place == self.data.get("place")
        self.fields["folder"].help_text = f"Full path on the workers, below {' or '.join(settings.MODEL_FOLDERS)}."

    @property
    def offers(self) -> list[str]:
        """The places that this instance allows."""
        return [place for place, _ in self.fields["place"].choices]  # type: ignore[attr-defined]

    def register(self, workspace: Workspace, by: User) -> Backbone:
        """Hand the cleaned input to the service. Raises UserError with what is wrong."""
        typed = self.cleaned_data
        if typed["place"] == "hosted":
            return endpoint_register(workspace=workspace, name=typed["name"], wish=self.wish(typed["key"]), by=by)
        shared = {"workspace": workspace, "name": typed["name"], "dtype": typed["dtype"], "by": by}
        if typed["place"] == "hub":
            return backbone_register_hub(repository=typed["hub_id"].strip(), revision=typed["revision"].strip(), **shared)
        return backbone_register_local(folder=typed["folder"].strip(), **shared)
