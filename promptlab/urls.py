"""Where every address leads. Pages live in `experiments.urls`, the API in `experiments.api`."""

from django.contrib import admin
from django.urls import include, path, re_path

from experiments.api.routes import api_routes
from experiments.views.accounts import account_closed

urlpatterns = [
    path("", include("experiments.urls")),
    # An address is an owner's to change, and no mail confirms it: these pages of the library stay shut.
    re_path(r"^accounts/(?:email|confirm-email|login/code/confirm)/", account_closed),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", api_routes()),
]

handler400 = "experiments.views.errors.bad_request"
handler403 = "experiments.views.errors.permission_denied"
handler404 = "experiments.views.errors.page_not_found"
handler500 = "experiments.views.errors.server_error"
