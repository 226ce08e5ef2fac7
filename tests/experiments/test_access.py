import pytest
from django.http import Http404

from experiments.access import RoleTooLow, get_dataset_for, get_workspace_for
from tests.factories import make_dataset


def test_member_may_read(bob, workspace):
    dataset = make_dataset(workspace)

    assert get_dataset_for(bob, dataset.pk) == dataset


def test_stranger_gets_404(charlie, workspace):
    dataset = make_dataset(workspace)

    with pytest.raises(Http404):
        get_dataset_for(charlie, dataset.pk)


def test_viewer_may_not_change_and_is_told_the_role(bob, workspace):
    dataset = make_dataset(workspace)

    with pytest.raises(RoleTooLow, match="Domain expert"):
        get_dataset_for(bob, dataset.pk, write=True)


def test_domain_expert_may_change_data_but_not_the_workspace(dora, workspace):
    dataset = make_dataset(workspace)

    assert get_dataset_for(dora, dataset.pk, write=True) == dataset
    with pytest.raises(RoleTooLow, match="Owner"):
        get_workspace_for(dora, workspace.slug, write=True)
