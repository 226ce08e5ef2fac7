"""What holds on the pages one by one: the keyboard, a bad file, the admin panel, and that the watch itself sees."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Arrive, Product, sign_in
from tests.browser.visitor import Look, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
ADMIN = "admin@example.com"


def test_the_keyboard_alone_reaches_the_content_and_every_part(arrive: Arrive) -> None:
    page = (visitor := arrive()).page
    visitor.open("/")

    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()

    for name in ("Data", "Prompts", "Comparisons", "Library", "Settings"):
        visitor.open("/")
        link = page.get_by_role("navigation", name="Workspace").get_by_role("link", name=name)
        _tab_to(visitor, name)
        expect(link).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def test_escape_closes_a_menu_and_a_dialog_and_gives_the_focus_back(arrive: Arrive) -> None:
    page = (visitor := arrive()).page
    visitor.open("/")
    account = page.locator("summary", has_text="Account:")
    account.press("Enter")
    expect(page.get_by_role("link", name="Change password")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Change password")).to_be_hidden()
    expect(account).to_be_focused()

    page.get_by_role("link", name="Settings").click()
    page.get_by_role("link", name="API keys").click()
    page.get_by_label("Name").fill("Nightly")
    page.keyboard.press("Enter")
    revoke = page.get_by_role("row", name="Nightly").get_by_role("button", name="Revoke")
    revoke.press("Enter")
    expect(page.get_by_role("dialog", name="Revoke this key?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(revoke).to_be_focused()


def test_a_binary_renamed_to_csv_is_refused_in_a_sentence_and_discarded(arrive: Arrive, tmp_path: Path) -> None:
    page = (visitor := arrive()).page
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    visitor.open("/")

    page.get_by_role("link", name="Data", exact=True).click()
    page.get_by_role("link", name="Upload data").click()
    page.get_by_label("Choose a file").set_input_files(tmp_path / "picture.csv")
    page.get_by_role("button", name="Upload").click()

    expect(page.get_by_text("The file is named .csv but is a picture. Export the table as CSV.")).to_be_visible()
    expect(page.get_by_role("link", name="Upload another file")).to_be_visible()

    page.get_by_role("link", name="Data", exact=True).first.click()
    page.get_by_role("row", name="picture").get_by_role("button", name="Discard").click()
    question = page.get_by_role("dialog", name="Discard this upload?")
    assert question.locator("article").evaluate("box => box.scrollWidth <= box.clientWidth")  # in a cell of numbers nothing wraps by itself
    question.get_by_role("button", name="Discard").click()
    expect(page.get_by_text("The upload was discarded.")).to_be_visible()
    expect(page.get_by_role("row", name="picture")).to_have_count(0)


def test_the_admin_panel_keeps_to_the_policy(browser: Browser, product: Product) -> None:
    product.command("createsuperuser", "--noinput", "--email", ADMIN, DJANGO_SUPERUSER_PASSWORD="correct horse battery staple")
    product.command("create_owner", "--email", ADMIN, "--workspace", "Office")
    link = product.command("sign_in_link", ADMIN).strip()
    admin = Visitor(browser, product.url, Look(), session=sign_in(browser, product, link))

    pages = []
    for path in admin.every_page("/admin/"):
        admin.check()
        pages.append(path)

    assert len(pages) > 10


def test_the_watch_sees_a_refused_style_a_foreign_picture_and_a_page_too_wide(browser: Browser, product: Product) -> None:
    visitor = Visitor(browser, product.url)
    visitor.open("/")

    added = '<p style="color: red"></p><img src="//elsewhere.example/"><nobr>' + "wide " * 400
    visitor.page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", added)

    with pytest.raises(AssertionError) as complaints:
        visitor.check()
    for seen in ("style-src-attr refused inline", "img-src refused http://elsewhere.example", "px wider than its window"):
        assert seen in str(complaints.value)


def _tab_to(visitor: Visitor, name: str) -> None:
    """Press Tab until something with this text has the focus; a page that hides it behind 20 stops has lost the keyboard."""
    for _ in range(20):
        visitor.page.keyboard.press("Tab")
        if visitor.page.evaluate("document.activeElement.textContent.trim()") == name:
            return
