"""The comparison's pages in a real browser: charts drawn under the strict policy, nothing on the console, nothing wider than the screen."""

import os
from datetime import date

import pytest
from django.utils import timezone

from experiments.models import Dataset, PriceBook, PromptTemplate, Workspace
from experiments.services.reports import report_create, share_create
from tests import factories
from tests.comparison_data import make_finished_experiment, make_price_book
from tests.extraction_data import make_finished_extraction
from tests.second_round_data import answer_train_rows, make_tuned_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
CHROMIUM = "/usr/bin/chromium"
COMPLAINTS = ("error", "warning", "trace")  # Plotly complains in traces


@pytest.fixture
def browser(monkeypatch):
    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # playwright runs a loop in this thread
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def stage(live_server, client_for):
    """Addresses of the pages to look at, and the cookie of a signed-in member."""
    owner = factories.make_user()
    workspace = factories.make_workspace(owner=owner)
    factories.make_backbone()
    experiment = make_finished_experiment(workspace, num_test=30, price_book=make_price_book(workspace))
    report = report_create(experiment=experiment, by=owner, includes_prompts=True, includes_examples=True)
    _, token = share_create(report=report, by=owner)
    run = experiment.approaches.get(method="lora").runs.first()
    assert run is not None
    cities = make_finished_extraction(workspace)
    explained = cities.approaches.get(method="prompt_tuning").runs.get()
    below = f"{live_server.url}/w/acme"
    pages = {
        "list": f"{below}/comparisons/",
        "form": f"{below}/comparisons/new/",
        "comparison": f"{below}/comparisons/{experiment.pk}/",
        "preview": f"{below}/comparisons/{experiment.pk}/report/",
        "rows": f"{below}/comparisons/{experiment.pk}/examples/",
        "run": f"{below}/runs/{run.pk}/",
        "free-answers": f"{below}/comparisons/{cities.pk}/",
        "free-answer-rows": f"{below}/comparisons/{cities.pk}/examples/",
        "explained": f"{below}/runs/{explained.pk}/",
        "report": f"{below}/reports/{report.pk}/",
        "share": f"{live_server.url}/s/{token}/",
    }
    session = client_for(owner).cookies["sessionid"].value
    return pages, {"name": "sessionid", "value": session, "url": live_server.url}


RESULTS_CUT_OFF = "[...document.querySelectorAll('.results')].filter(table => table.scrollWidth > table.clientWidth).length"


@pytest.mark.parametrize(("width", "is_narrow"), [(1280, False), (390, True)])
def test_every_result_is_seen_on_a_common_screen_and_a_phone_says_that_more_stand_aside(browser, stage, width, is_narrow):
    pages, cookie = stage
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_cookies([cookie])
    page = context.new_page()
    for name in ("comparison", "preview", "report", "share"):
        page.goto(pages[name])
        hint = page.get_by_text("the table scrolls sideways")

        assert (name, page.evaluate(RESULTS_CUT_OFF), hint.is_visible()) == (name, int(is_narrow), is_narrow)


@pytest.mark.parametrize(("width", "is_cut_off"), [(1280, True), (390, False)])  # a phone shows a card a row
def test_rows_that_are_cut_off_say_that_they_scroll_and_others_do_not(browser, stage, width, is_cut_off):
    pages, cookie = stage
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["rows"])

    page.get_by_text("the table scrolls sideways").wait_for(state="visible" if is_cut_off else "hidden")
    assert page.evaluate("(box => box.scrollWidth > box.clientWidth)(document.querySelector('.table-scroll'))") == is_cut_off


def test_only_columns_of_the_chosen_data_can_be_cut(browser, stage):
    pages, cookie = stage
    reviews = factories.make_dataset(Workspace.objects.get(), name="Reviews")
    factories.make_dataset_version(Workspace.objects.get(), dataset=reviews, columns=["review"])
    context = browser.new_context()
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["form"])
    offered = "[...document.querySelector('[name=truncate_column]').options].filter(o => !o.disabled && !o.hidden).map(o => o.value)"
    assert page.evaluate(offered) == ["", "review"]

    mail = page.locator("""[name=dataset_version] option[data-columns='["text"]']""").first.get_attribute("value")
    page.locator("[name=truncate_column]").evaluate("select => select.value = 'review'")
    page.select_option("[name=dataset_version]", mail)

    assert page.evaluate(offered) == ["", "text"]
    assert page.locator("[name=truncate_column]").evaluate("select => select.value") == ""


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_pages_are_quiet_fit_the_screen_and_draw_their_charts(browser, stage, width, scheme):
    pages, cookie = stage
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.add_cookies([cookie])
    complaints, charts = [], {}
    for name, address in pages.items():
        page = context.new_page()
        page.on("console", lambda message, name=name: complaints.append((name, message.text)) if message.type in COMPLAINTS else None)
        page.on("pageerror", lambda error, name=name: complaints.append((name, str(error))))
        page.goto(address, wait_until="networkidle")
        drawn, asked = page.locator(".chart .main-svg").count(), page.locator("[data-chart]").count()
        charts[name] = (asked, drawn >= asked)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            complaints.append((name, "wider than the screen"))
        page.close()

    assert complaints == []
    assert charts["comparison"] == (5, True)
    assert charts["share"] == (3, True)
    assert charts["run"] == (2, True)


def test_the_account_menu_of_a_phone_keeps_an_address_in_one_piece_and_signing_out_is_a_quiet_line(browser, live_server, client_for):
    owner = factories.make_user("martina.maintainer@localdomain.example")
    factories.make_workspace(owner=owner)
    context = browser.new_context(viewport={"width": 390, "height": 900})
    context.add_cookies([{"name": "sessionid", "value": client_for(owner).cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/w/acme/comparisons/")
    page.locator(".menu-end summary").click()
    ground = "element => getComputedStyle(element).backgroundColor"
    note, link = (page.locator(f".menu-end {part}").first for part in (".menu-note", ".menu-list a"))

    assert page.get_by_role("button", name="Sign out").evaluate(ground) == link.evaluate(ground)
    assert note.evaluate("element => element.offsetHeight") < 2 * link.evaluate(
        "element => parseFloat(getComputedStyle(element).lineHeight)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_shared_page_works_without_a_cookie_and_asks_no_other_host(browser, stage, live_server):
    pages, _ = stage
    context = browser.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages["share"], wait_until="networkidle")

    assert "TF-IDF + logistic regression" in page.inner_text("h1 + .key-figures")
    assert all(url.startswith((live_server.url, "data:")) for url in asked)
    assert context.cookies() == []
    assert page.evaluate("document.referrer") == ""


def test_table_sorts_in_place_and_the_address_follows(browser, stage):
    pages, cookie = stage
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["comparison"], wait_until="networkidle")
    page.get_by_role("link", name="Right", exact=True).click()
    page.wait_for_url("**sort=accuracy**")
    page.locator("#results th[aria-sort=descending]").wait_for()

    assert "LoRA" in page.locator("#results tbody tr").first.inner_text()


def test_the_keyboard_keeps_its_place_while_the_page_asks_again(browser, stage, live_server):
    _, cookie = stage
    experiment = factories.make_experiment(Workspace.objects.get(), launched_at=timezone.now(), launch_key="going on")
    run = factories.make_run(factories.make_approach(experiment), state="queued")
    context = browser.new_context()
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(f"{live_server.url}/w/acme/comparisons/{experiment.pk}/")
    page.get_by_role("link", name="Zero-shot").focus()

    for _ in range(2):
        with page.expect_response("**/state/**"):
            pass
    page.wait_for_timeout(100)  # the answer is put into the page after it has come

    assert page.evaluate("document.activeElement.id") == f"run-{run.pk}"


def test_other_data_ticks_the_prompts_that_were_written_for_it(browser, stage):
    pages, cookie = stage
    for prompt, data in (("City prompt", "Cities"), ("Triage prompt 1", "Triage 1")):
        PromptTemplate.objects.filter(name=prompt).update(dataset=Dataset.objects.get(name=data))
    context = browser.new_context()
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["form"])
    city, triage = page.get_by_role("checkbox", name="City prompt"), page.get_by_role("checkbox", name="Triage prompt")
    assert (city.is_checked(), triage.is_checked()) == (True, False)

    page.get_by_label("Data", exact=True).select_option(label="Triage 1 v1 (150 rows, 6 labels)")
    assert (city.is_checked(), triage.is_checked()) == (False, True)

    city.check()
    page.get_by_label("Data", exact=True).select_option(index=0)
    assert (city.is_checked(), triage.is_checked()) == (True, True)


def test_estimate_follows_the_form(browser, stage):
    pages, cookie = stage
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["form"], wait_until="networkidle")
    before = page.locator("#estimate").inner_text()
    page.get_by_role("checkbox", name="LoRA").uncheck()
    page.wait_for_function("before => document.querySelector('#estimate').innerText !== before", arg=before)

    assert "1,000 steps" in page.locator("#estimate").inner_text()


def test_mark_stands_in_its_row_and_the_ticks_of_others_stay(browser, live_server, client_for, alice, workspace):
    tuned = make_tuned_run(workspace)
    answer_train_rows(tuned, [-1.0, -2.0, 4.0, 4.0])
    factories.make_feedback(tuned, by=alice, note="ANoteWithoutEnd" * 30)
    context = browser.new_context(viewport={"width": 390, "height": 900})
    context.add_cookies([{"name": "sessionid", "value": client_for(alice).cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/w/acme/runs/{tuned.pk}/mistakes/")
    page.get_by_role("checkbox", name="The label of row 1 is wrong").check()
    page.get_by_label("Mark the answer to row 2").click()
    row = page.locator("#row-2")
    row.get_by_role("radio", name="right").check()
    row.get_by_role("textbox", name="Note").fill("A parcel")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    row.get_by_role("button", name="Save").click()
    row.get_by_text("left out by a mark").wait_for()

    assert "Right: A parcel" in row.inner_text()
    assert "1 row: a mark contradicts the data" in page.locator("#mistake-facts").inner_text()
    assert page.get_by_role("checkbox", name="The label of row 1 is wrong").is_checked()
    assert page.evaluate("document.activeElement.textContent") == "Change yours"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_prices_that_are_written_down_meanwhile_reach_the_form_and_nothing_that_stands_in_it_is_lost(browser, stage):
    pages, cookie = stage
    PriceBook.objects.update(effective_on=date(2126, 1, 1))
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.add_cookies([cookie])
    page = context.new_page()
    page.goto(pages["form"], wait_until="networkidle")
    page.get_by_label("Name", exact=True).fill("Which prompt for triage?")
    panel = page.locator("#estimate")
    panel.get_by_text("unknown, for no prices are chosen").wait_for()
    with context.expect_page() as opened:
        panel.get_by_role("link", name="Write prices down").click()
    prices = opened.value
    prices.get_by_label("Name").fill("Written meanwhile")
    prices.get_by_role("button", name="Keep these prices").click()
    prices.get_by_role("link", name="New prices").wait_for()

    panel.get_by_role("button", name="Use the newest prices").click()

    panel.get_by_text("at the prices of Written meanwhile").wait_for()
    assert page.get_by_label("Name", exact=True).input_value() == "Which prompt for triage?"
    context.close()
