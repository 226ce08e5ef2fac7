"""The way of a new domain expert from an own file to a shared report, told by what stands on the pages.

Each step leaves the page where the next one begins, and checks what the person is meant to see there.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.visitor import Visitor

# Files, models and runs take their time on a busy machine; a page that shows the state earlier is not waited for.
WORK = 300_000
STEPS = 12
TUNED = ("Soft prompt", "Hybrid", "LoRA")
PACK = ("Zero-shot", "Few-shot", *TUNED)
NUM_RUNS = 9
MESSAGES = {
    "refund": ["Please give me back the {} dollars I paid twice", "I want my money back for order {}", "Refund invoice {} to my card"],
    "delivery": ["Where is parcel {}? It should be here by now", "The courier lost box {} again", "Package {} has not arrived"],
    "account": ["I cannot sign in with the number {}", "My password does not work since day {}", "Please change the email of login {}"],
}
NUM_ROWS = 240


@dataclass(frozen=True)
class Story:
    """Where the path has led: addresses of the nouns that were made, and the link that was handed out."""

    data: str
    prompt: str
    comparison: str
    report: str
    link: str


def write_mail(path: Path) -> Path:
    """A table as a support team keeps it: some messages came twice, and one column is an amount."""
    cases = [(text, queue) for queue, texts in MESSAGES.items() for text in texts]
    rows = []
    for number in range(NUM_ROWS - 6):
        text, queue = cases[number % len(cases)]
        rows.append((text.format(1000 + number), queue, f"{number * 1.5:.2f}"))
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("message", "queue", "amount"), *rows, *rows[:6]])
    return path


def tell(expert: Visitor, mail: Path) -> Story:
    """The whole path, from the overview to a link."""
    page = expert.page
    data = upload(expert, mail)
    write_prices(expert)
    prompt = write_prompt(expert)
    write_prompt_with_examples(expert)
    comparison = start_comparison(expert)
    watch_it_end(expert)
    read_results(expert)
    open_test_set(expert)
    report, link = share_report(expert)
    page.close()
    return Story(data, prompt, comparison, report, link)


def part(page: Page, name: str) -> None:
    """Choose a part of the workspace in the navigation."""
    page.get_by_role("navigation", name="Workspace").get_by_role("link", name=name).click()


def upload(expert: Visitor, mail: Path) -> str:
    page = expert.page
    part(page, "Data")
    page.get_by_role("link", name="Upload data").click()
    page.get_by_label("Name").fill("Parcel mail")
    page.get_by_label("Choose a file").set_input_files(mail)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="What do the columns mean?")).to_be_visible(timeout=WORK)
    expert.check()

    expect(page.get_by_label("Use message as")).to_have_value("text")
    expect(page.get_by_label("Use queue as")).to_have_value("label")
    expect(page.get_by_label("Use amount as")).to_have_value("ignore")
    page.get_by_role("button", name="Check and store the rows").click()
    expect(page.get_by_role("region", name="Checks")).to_contain_text("6 rows repeat a text of the same split", timeout=WORK)
    expect(page.get_by_role("region", name="Rows", exact=True).first).to_contain_text("Please give me back the 1000 dollars")
    expert.check()
    return page.url


def write_prices(expert: Visitor) -> None:
    page = expert.page
    part(page, "Settings")
    page.get_by_role("link", name="Prices").click()
    page.get_by_role("link", name="Write prices down").click()
    page.get_by_label("Name").fill("This year")
    page.get_by_label("Machine, per hour").fill("0.50")
    page.get_by_label("Labelling a row").fill("0.10")
    page.get_by_label("A person, per hour").fill("60")
    page.get_by_role("button", name="Keep these prices").click()
    expect(page.get_by_role("rowheader", name="This year")).to_be_visible()
    expert.check()


def write_prompt(expert: Visitor) -> str:
    page = expert.page
    part(page, "Prompts")
    page.get_by_role("link", name="Write a prompt").click()
    page.get_by_label("Name").fill("Plain")
    words = page.get_by_role("textbox", name="Prompt", exact=True)
    words.fill("Which team should answer this customer?\n\n")
    page.get_by_role("button", name="{{message}}").click()
    expect(words).to_have_value("Which team should answer this customer?\n\n{{message}}")
    page.get_by_label("Beginning of the answer").fill("Team:")
    preview = page.get_by_role("region", name="Preview")
    expect(preview).to_contain_text("Team:")
    expect(preview.locator("mark")).not_to_be_empty()
    page.get_by_role("button", name="Try on 5 rows").click()
    tried = page.get_by_role("region", name="Try it")
    expect(tried.get_by_text("What the model read")).to_have_count(5, timeout=WORK)
    expert.check()
    page.get_by_role("button", name="Save the prompt").click()
    expect(page.get_by_role("heading", name="Plain")).to_be_visible()
    return page.url


def write_prompt_with_examples(expert: Visitor) -> None:
    page = expert.page
    part(page, "Prompts")
    page.get_by_role("link", name="Write a prompt").click()
    page.get_by_label("Name").fill("With examples")
    page.get_by_text("Examples in the prompt").click()
    page.get_by_role("button", name="One of each label").click()
    expect(page.get_by_role("button", name="Remove example")).to_have_count(len(MESSAGES))
    expect(page.get_by_role("region", name="Preview")).to_contain_text(f"{len(MESSAGES)} examples before the row")
    expert.check()
    page.get_by_role("button", name="Save the prompt").click()
    expect(page.get_by_role("heading", name="Examples in the prompt")).to_be_visible()


def start_comparison(expert: Visitor) -> str:
    page = expert.page
    part(page, "Comparisons")
    page.get_by_role("link", name="Set up a comparison").click()
    page.get_by_label("Name").fill("Which way for parcel mail?")
    for ticked in (*PACK, "Plain v1", "With examples v1"):
        expect(page.get_by_role("checkbox", name=re.compile(f"^{ticked}"))).to_be_checked()
    page.get_by_text("Costs, seeds and rows that are too long").click()
    page.get_by_label("Seeds").fill("0")
    page.get_by_label("Prices").select_option(index=1)
    page.get_by_text("Advanced: how each approach is made").click()
    for name in TUNED:
        recipe = page.locator("details.recipe").filter(has=page.locator("summary").get_by_text(name, exact=True))
        recipe.locator("summary").click()
        recipe.get_by_label(re.compile(r"^\s*Steps\b")).fill(str(STEPS))
        recipe.get_by_label(re.compile(r"^\s*Look every\b")).fill(str(STEPS // 2))
    expect(page.get_by_text(f"at most {STEPS * len(TUNED)} steps")).to_be_visible()
    expert.check()
    page.get_by_role("button", name="Start the comparison").click()
    expect(page.get_by_role("heading", name="Which way for parcel mail?")).to_be_visible()
    started = page.url
    page.go_back()
    page.get_by_role("button", name="Start the comparison").click()
    expect(page.get_by_text("This form has started this comparison already")).to_be_visible()
    assert page.url == started
    return started


def watch_it_end(expert: Visitor) -> None:
    """Nobody presses reload: the page itself tells how far the runs are and shows the results when they have come."""
    page = expert.page
    expect(page.get_by_text(re.compile(rf"[1-8] of {NUM_RUNS} runs ended"))).to_be_visible(timeout=WORK)
    expert.check()
    expect(page.get_by_role("region", name="Results")).to_be_visible(timeout=WORK)
    expert.check()


def read_results(expert: Visitor) -> None:
    page = expert.page
    expect(page.get_by_role("region", name="Results").get_by_role("rowheader")).to_have_count(NUM_RUNS)
    expect_charts(page)
    page.get_by_role("link", name="Row by row").click()
    expect(page.get_by_role("region", name="Rows")).to_contain_text(re.compile("message|parcel|order|password", re.IGNORECASE))
    expert.check()
    page.get_by_role("link", name="Validation rows").click()


def expect_charts(page: Page) -> None:
    """There are figures, and each is drawn."""
    figures = page.get_by_role("figure")
    expect(figures.first).to_be_visible()
    for figure in figures.all():
        expect(figure.locator("svg.main-svg").first).to_be_visible()


def open_test_set(expert: Visitor) -> None:
    """By keyboard, with a change of mind at the first time."""
    page = expert.page
    opener = page.get_by_role("button", name="Open the test set").first
    question = page.get_by_role("dialog", name="Open the test set?")
    opener.press("Enter")
    expect(question).to_be_visible()
    expert.check()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(opener).to_be_focused()
    opener.press("Enter")
    question.get_by_role("button", name="Open the test set").press("Enter")
    expect(page.get_by_role("link", name="Test rows")).to_be_visible(timeout=WORK)
    expect(page.get_by_role("region", name="Results")).to_be_visible()
    expert.check()


def share_report(expert: Visitor) -> tuple[str, str]:
    """Makes a report of the test rows with prompts and rows in it, and a link; returns the addresses of both."""
    page = expert.page
    page.get_by_role("link", name="Make a report").click()
    page.get_by_label("Include the wording of the prompts").check()
    page.get_by_label("Include 20 rows with every answer").check()
    page.get_by_role("button", name="Make the report").click()
    expect(page.get_by_text("A frozen report of")).to_be_visible()
    report = page.url
    link = make_link(page)
    expert.check()
    return report, link


def make_link(page: Page) -> str:
    """On a report's page: make a link and read it."""
    page.get_by_text("Share by link").click()
    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_text("It is shown only now")).to_be_visible()
    return page.locator("#share-address").inner_text().strip()
