from experiments.models import PriceBook
from tests.factories import make_experiment

TYPED = {"name": "2026", "currency": "EUR", "effective_on": "2026-01-01", "device_hour": "0.42"}


def test_domain_expert_writes_prices_down_and_empty_ones_show_as_unknown(client_for, dora, workspace):
    expert = client_for(dora)

    assert expert.post("/w/acme/settings/prices/new/", TYPED).status_code == 302
    page = expert.get("/w/acme/settings/prices/").content.decode()
    assert "€0.42" in page
    assert "unknown" in page


def test_when_prices_begin_to_hold_is_said_where_they_are_written_and_listed(client_for, dora, workspace):
    expert = client_for(dora)
    form = expert.get("/w/acme/settings/prices/new/").content.decode()
    expert.post("/w/acme/settings/prices/new/", TYPED)

    assert "From midnight UTC on." in form
    assert "a day begins at midnight UTC" in expert.get("/w/acme/settings/prices/").content.decode()


def test_negative_price_is_refused_on_the_form(client_for, dora, workspace):
    answer = client_for(dora).post("/w/acme/settings/prices/new/", TYPED | {"wrong_answer": "-1"})

    assert answer.status_code == 422
    assert not PriceBook.objects.exists()


def test_viewer_reads_prices_and_writes_none(client_for, bob, workspace):
    assert client_for(bob).get("/w/acme/settings/prices/").status_code == 200
    assert client_for(bob).post("/w/acme/settings/prices/new/", TYPED).status_code == 403


def test_used_prices_offer_no_delete_and_refuse_one(client_for, dora, workspace):
    expert = client_for(dora)
    expert.post("/w/acme/settings/prices/new/", TYPED)
    book = PriceBook.objects.get()
    make_experiment(workspace, price_book=book)

    assert "1 comparison" in expert.get("/w/acme/settings/prices/").content.decode()
    expert.post(f"/w/acme/settings/prices/{book.pk}/delete/")
    assert PriceBook.objects.filter(pk=book.pk).exists()


def test_next_prices_begin_with_the_newest_and_say_so(client_for, dora, workspace):
    expert = client_for(dora)
    assert "taken over" not in expert.get("/w/acme/settings/prices/new/").content.decode()
    expert.post("/w/acme/settings/prices/new/", TYPED)

    page = expert.get("/w/acme/settings/prices/new/").content.decode()

    assert "all prices are taken over from “2026”: change what differs" in page
    assert 'value="0.42"' in page
    assert 'value="EUR"' in page
