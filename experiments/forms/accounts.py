"""What people type about themselves, their team and its keys. Cleaned here, checked against the rows in services."""

from typing import Any

from allauth.account import forms as allauth
from django import forms

from experiments.models import Role, User, Workspace
from experiments.services.keys import KEY_ROLES


class PlainFields:
    """A form of the sign-in library in our words: "New password", not "New Password", and no label said twice."""

    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
            field.label = str(field.label).capitalize()
        if "remember" in self.fields:
            self.fields["remember"].label = "Stay signed in on this computer"


class SignInForm(PlainFields, allauth.LoginForm):  # type: ignore[misc]  # the library has no types
    pass


class PasswordChangeForm(PlainFields, allauth.ChangePasswordForm):  # type: ignore[misc]
    pass


class PasswordSetForm(PlainFields, allauth.SetPasswordForm):  # type: ignore[misc]
    pass


class PasswordResetForm(PlainFields, allauth.ResetPasswordForm):  # type: ignore[misc]
    pass


class PasswordResetKeyForm(PlainFields, allauth.ResetPasswordKeyForm):  # type: ignore[misc]
    pass


class ReauthenticateForm(PlainFields, allauth.ReauthenticateForm):  # type: ignore[misc]
    pass


class JoinForm(forms.Form):
    """A new person's name and password; the email stands in the invitation."""

    name = forms.CharField(max_length=150, widget=forms.TextInput(attrs={"autocomplete": "name"}))
    password = forms.CharField(
        max_length=1_000,
        strip=False,
        help_text="At least 12 characters; a few random words do well.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class InvitationForm(forms.Form):
    email = forms.EmailField(max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(choices=Role.choices, initial=Role.DOMAIN_EXPERT)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class KeyForm(forms.Form):
    name = forms.CharField(max_length=80, help_text="What will use the key, such as “nightly import”.")
    role = forms.ChoiceField(choices=[(role.value, role.label) for role in KEY_ROLES], initial=Role.DOMAIN_EXPERT)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class WorkspaceForm(forms.Form):
    name = forms.CharField(max_length=80)


class NewWorkspaceForm(WorkspaceForm):
    """The name of a workspace that `maker` wants: one that they cannot confuse with another of theirs."""

    def __init__(self, *args: Any, maker: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.maker = maker

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Workspace.objects.filter(memberships__user=self.maker, name__iexact=name).exists():
            raise forms.ValidationError(f"You are in a workspace named “{name}” already. Choose another name, to tell the two apart.")
        return name
