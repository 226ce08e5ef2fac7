import pytest

from experiments.errors import UserError
from experiments.models import ApiKey, AuditEntry, Role
from experiments.services.keys import api_key_create, api_key_find, api_key_revoke


def test_clear_key_is_returned_once_and_stored_nowhere(alice, workspace):
    key, clear = api_key_create(workspace=workspace, name="CI", role=Role.VIEWER, by=alice)

    assert clear.startswith("plk_")
    assert len(clear) >= 47
    assert clear.startswith(key.prefix)
    assert clear not in str(ApiKey.objects.values().get())
    assert clear not in str(list(AuditEntry.objects.values()))


def test_key_is_found_by_its_clear_text_and_notes_the_day(alice, workspace):
    key, clear = api_key_create(workspace=workspace, name="CI", role=Role.VIEWER, by=alice)

    assert api_key_find(clear) == key
    assert ApiKey.objects.get().last_used_on is not None


@pytest.mark.parametrize("change", [lambda clear: clear[:-1], lambda clear: clear.swapcase(), lambda clear: clear + "A", lambda clear: ""])
def test_altered_key_is_unknown(alice, workspace, change):
    _, clear = api_key_create(workspace=workspace, name="CI", role=Role.VIEWER, by=alice)

    assert api_key_find(change(clear)) is None


def test_revoked_key_is_unknown_at_once_and_is_revoked_once(alice, workspace):
    key, clear = api_key_create(workspace=workspace, name="CI", role=Role.VIEWER, by=alice)

    api_key_revoke(key=key, by=alice)
    api_key_revoke(key=key, by=alice)

    assert api_key_find(clear) is None
    assert AuditEntry.objects.filter(verb="revoked").count() == 1


def test_no_key_holds_an_owners_power(alice, workspace):
    with pytest.raises(UserError, match="Owner"):
        api_key_create(workspace=workspace, name="root", role=Role.OWNER, by=alice)
