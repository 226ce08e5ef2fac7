"""One path a view, named <noun>-<verb>. Workspace pages live under /w/<slug>/."""

from django.urls import path
from django.urls.resolvers import URLPattern, URLResolver

from experiments.views import accounts, backbones, datasets, health, home, keys, library, prices, workspace

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("healthz", health.health, name="health"),
    path("sign-in/", accounts.sign_in, name="sign-in"),
    path("invitations/<str:token>/", accounts.invitation_accept, name="invitation-accept"),
    path("w/<slug:slug>/", home.workspace_overview, name="workspace-overview"),
    path("w/<slug:slug>/activity/", home.workspace_activity, name="workspace-activity"),
    path("w/<slug:slug>/data/", datasets.dataset_list, name="dataset-list"),
    path("w/<slug:slug>/data/new/", datasets.dataset_create, name="dataset-create"),
    path("w/<slug:slug>/data/<uuid:dataset_id>/", datasets.dataset_detail, name="dataset-detail"),
    path("w/<slug:slug>/data/<uuid:dataset_id>/edit/", datasets.dataset_edit, name="dataset-edit"),
    path("w/<slug:slug>/data/<uuid:dataset_id>/upload/", datasets.dataset_version_create, name="dataset-version-create"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/", datasets.dataset_version_detail, name="dataset-version-detail"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/progress/", datasets.dataset_version_progress, name="dataset-version-progress"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/map/", datasets.dataset_version_map, name="dataset-version-map"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/divide/", datasets.dataset_version_divide, name="dataset-version-divide"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/retry/", datasets.dataset_version_retry, name="dataset-version-retry"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/discard/", datasets.dataset_version_discard, name="dataset-version-discard"),
    path("w/<slug:slug>/data/versions/<uuid:version_id>/file/", datasets.dataset_version_download, name="dataset-version-download"),
    path("w/<slug:slug>/library/", library.library, name="library"),
    path("w/<slug:slug>/library/models/new/", backbones.backbone_create, name="backbone-create"),
    path("w/<slug:slug>/library/models/<uuid:backbone_id>/", backbones.backbone_detail, name="backbone-detail"),
    path("w/<slug:slug>/library/models/<uuid:backbone_id>/state/", backbones.backbone_state, name="backbone-state"),
    path("w/<slug:slug>/library/models/<uuid:backbone_id>/verify/", backbones.backbone_verify, name="backbone-verify"),
    path("w/<slug:slug>/library/artifacts/<uuid:artifact_id>/download/", library.artifact_download, name="artifact-download"),
    path("w/<slug:slug>/settings/", workspace.workspace_settings, name="workspace-settings"),
    path("w/<slug:slug>/settings/members/invite/", workspace.member_invite, name="member-invite"),
    path("w/<slug:slug>/settings/members/<int:membership_id>/role/", workspace.member_role, name="member-role"),
    path("w/<slug:slug>/settings/members/<int:membership_id>/remove/", workspace.member_remove, name="member-remove"),
    path("w/<slug:slug>/settings/invitations/<uuid:invitation_id>/withdraw/", workspace.invitation_withdraw, name="invitation-withdraw"),
    path("w/<slug:slug>/settings/keys/", keys.api_key_list, name="api-key-list"),
    path("w/<slug:slug>/settings/keys/new/", keys.api_key_create, name="api-key-create"),
    path("w/<slug:slug>/settings/keys/<uuid:key_id>/revoke/", keys.api_key_revoke, name="api-key-revoke"),
    path("w/<slug:slug>/settings/prices/", prices.price_list, name="price-list"),
    path("w/<slug:slug>/settings/prices/new/", prices.price_create, name="price-create"),
    path("w/<slug:slug>/settings/prices/<uuid:book_id>/delete/", prices.price_delete, name="price-delete"),
    path("w/<slug:slug>/settings/links/", workspace.share_list, name="share-list"),
    path("w/<slug:slug>/settings/audit/", workspace.audit_list, name="audit-list"),
]
