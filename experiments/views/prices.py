"""Price books: what a team's comparisons reckon with. Made and thrown away, never edited."""

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from experiments.access import WRITE_ROLES, get_membership_for, get_price_book_for, get_workspace_for
from experiments.errors import UserError
from experiments.forms.prices import PriceForm
from experiments.models import PriceBook, Workspace
from experiments.services.prices import PRICES, price_book_create, price_book_delete
from experiments.views.viewer import require_here, viewer


@require_safe
def price_list(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = get_workspace_for(viewer(request), slug)
    comparisons = Count("experiments", filter=Q(experiments__curve_of=None))
    books = workspace.price_books.select_related("created_by").annotate(num_experiments=comparisons)
    return render(request, "price_list.html", {"books": books})


@require_http_methods(["GET", "HEAD", "POST"])
def price_create(request: HttpRequest, slug: str) -> HttpResponse:
    """A new price book, with the newest one's prices to begin on."""
    workspace = get_membership_for(viewer(request), slug, needs=WRITE_ROLES[PriceBook]).workspace
    newest = workspace.price_books.first()
    form = PriceForm(request.POST or None, initial=_prices_of(newest) if newest else None)
    if request.method == "POST" and form.is_valid() and _stored(request, workspace, form):
        return redirect("price-list", slug)
    return render(request, "price_create.html", {"form": form, "newest": newest}, status=422 if form.errors else 200)


@require_POST
def price_delete(request: HttpRequest, slug: str, book_id: UUID) -> HttpResponse:
    book = get_price_book_for(viewer(request), book_id, write=True)
    require_here(book.workspace, slug)
    try:
        price_book_delete(book=book, by=viewer(request))
        messages.success(request, f"The prices “{book.name}” are gone.")
    except UserError as error:
        messages.error(request, str(error))
    return redirect("price-list", slug)


def _stored(request: HttpRequest, workspace: Workspace, form: PriceForm) -> bool:
    typed = form.cleaned_data
    prices = {name: typed[name] for name in PRICES}
    head = {name: typed[name] for name in ("name", "currency", "effective_on")}
    try:
        price_book_create(workspace=workspace, prices=prices, by=viewer(request), **head)
    except (UserError, ValidationError) as error:
        form.add_error(None, str(error) if isinstance(error, UserError) else error.messages)
        return False
    return True


def _prices_of(book: PriceBook) -> dict[str, str]:
    """A book's prices as a person would type them: 0.42, not 0.420000."""
    prices = {name: price for name in PRICES if (price := getattr(book, name)) is not None}
    return {"currency": book.currency} | {name: format(price.normalize(), "f") for name, price in prices.items()}
