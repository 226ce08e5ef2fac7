"""No pages: a storm watches workers."""

urlpatterns: list[object] = []
