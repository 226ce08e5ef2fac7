import structlog

from experiments.services.audit import KEY_CONTEXT, audit_record


def test_entry_keeps_the_persons_email_and_the_targets_name(alice, workspace):
    entry = audit_record(by=alice, verb="renamed", target=workspace, workspace=workspace)

    assert (entry.actor_label, entry.target_kind, entry.target_name) == ("alice@example.com", "workspace", "Acme")


def test_entry_made_through_a_key_names_the_key(alice, workspace):
    with structlog.contextvars.bound_contextvars(**{KEY_CONTEXT: "CI (plk_abcdefgh…)"}):
        entry = audit_record(by=alice, verb="renamed", target=workspace, workspace=workspace)

    assert entry.actor_label == "API key CI (plk_abcdefgh…)"
    assert entry.actor == alice


def test_entry_without_a_person_is_the_systems(workspace):
    assert audit_record(by=None, verb="opened", target=workspace, workspace=workspace).actor_label == "PromptLab"
