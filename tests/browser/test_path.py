"""From an own file to a link that opens signed out, and every page on the way."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Arrive
from tests.browser.story import NUM_RUNS, PACK, Story, expect_charts, make_link
from tests.browser.visitor import LOOKS, Look

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
each_look = pytest.mark.parametrize("look", LOOKS, ids=str)


def test_a_new_expert_gets_from_an_own_file_to_a_shared_report(told: Story, arrive: Arrive) -> None:
    expert = arrive()

    expert.open(told.comparison)

    results = expert.page.get_by_role("region", name="Results")
    for name in (*PACK, "TF-IDF"):
        expect(results.get_by_role("rowheader", name=name).first).to_be_visible()
    expect(expert.page.get_by_text(f"{NUM_RUNS} runs").first).to_be_visible()


@each_look
def test_a_shared_report_opens_signed_out(told: Story, arrive: Arrive, look: Look) -> None:
    reader = arrive(look, signed_in=False)

    answer = reader.open(told.link)

    assert answer.status == 200
    expect(reader.page.get_by_role("heading", name="Which way for parcel mail?")).to_be_visible()
    for figure in ("Best approach", "Right answers", "Against the best written prompt", "Cost of 1,000 requests", "Pays"):
        expect(reader.page.get_by_role("term").filter(has_text=figure).first).to_be_in_viewport()
    expect_charts(reader.page)
    reader.check()
    assert reader.context.cookies() == []
    assert "set-cookie" not in answer.all_headers()


def test_a_revoked_link_opens_nothing(told: Story, arrive: Arrive) -> None:
    expert, reader = arrive(), arrive(signed_in=False)
    expert.open(told.report)
    link = make_link(expert.page)
    assert reader.open(link).status == 200

    expert.page.get_by_role("button", name="Revoke").first.click()
    expert.page.get_by_role("dialog", name="Revoke this link?").get_by_role("button", name="Revoke").click()
    expect(expert.page.get_by_text("revoked").first).to_be_visible()

    assert reader.context.request.get(link).status == 404


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_that_a_link_leads_to_is_whole_by_day_and_by_night(told: Story, arrive: Arrive, width: int) -> None:
    member = arrive(Look(width))

    pages = []
    for path in member.every_page():
        for scheme in ("light", "dark"):
            member.page.emulate_media(color_scheme=scheme)
            member.check()
        if path.startswith("/w/") and path != "/w/new/":  # a workspace that is still to be made has no parts
            expect(member.page.locator(".site-nav [aria-current=page]")).to_have_count(1)
        pages.append(path)

    assert len(pages) > 20
