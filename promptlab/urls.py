"""Where every address leads. Pages live in `experiments.urls`, the API in `experiments.api`."""

from django.contrib import admin
from django.urls import include, path

from experiments.api.routes import api_routes

urlpatterns = [
    path("", include("experiments.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", api_routes()),
]

handler400 = "experiments.views.errors.bad_request"
handler403 = "experiments.views.errors.permission_denied"
handler404 = "experiments.views.errors.page_not_found"
handler500 = "experiments.views.errors.server_error"
