"""What a person says of an answer."""

from django import forms

from experiments.models import Verdict
from experiments.services.feedback import MAX_ANSWER, MAX_NOTE, Judgement


class FeedbackForm(forms.Form):
    verdict = forms.ChoiceField(choices=Verdict.choices, error_messages={"required": "Say whether the answer is wrong or right."})
    right_answer = forms.CharField(max_length=MAX_ANSWER, required=False)
    note = forms.CharField(max_length=MAX_NOTE, required=False)

    def judgement(self) -> Judgement:
        """What a valid form says."""
        given = self.cleaned_data
        return Judgement(Verdict(given["verdict"]), given["right_answer"], given["note"])

    def problem(self) -> str:
        """Why the form cannot be taken, in sentences."""
        return " ".join(str(each) for errors in self.errors.values() for each in errors)
