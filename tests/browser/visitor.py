"""A person in front of a browser: one page, and everything that the browser complains about. Knows no page of the product."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urldefrag, urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, Response, StorageState, WebError

# A refused style or script is told by an event only; as an error of the console it is heard with everything else.
TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error(
  `the policy ${event.effectiveDirective} refused ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`
));
"""
FILES = re.compile(r"/(file|download)/$|\.\w+$")
IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/)\d+(?=/)")
# Generous, for a machine with two busy cores; nothing here waits longer than it must.
PAGE_SECONDS = 60


@dataclass(frozen=True)
class Look:
    """A width of the window in pixels and the colour scheme that the person's system prefers."""

    width: int = 1280
    scheme: str = "light"

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}"


LOOKS = [Look(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


class Visitor:
    """One person with an own window. `check` fails on every complaint so far; pages are opened by path or by full address."""

    def __init__(self, browser: Browser, url: str, look: Look | None = None, *, session: StorageState | None = None) -> None:
        self.look = look or Look()
        self.url = url
        self.complaints: list[str] = []
        viewport = {"width": self.look.width, "height": 900}
        self.context = browser.new_context(viewport=viewport, color_scheme=self.look.scheme, storage_state=session)  # type: ignore[arg-type]
        self.context.set_default_timeout(PAGE_SECONDS * 1000)
        self.context.add_init_script(TELL_VIOLATIONS)
        self.context.on("console", self._hear)
        self.context.on("weberror", self._catch)
        self.context.on("request", self._watch)
        self.page: Page = self.context.new_page()

    def open(self, address: str) -> Response:
        """Go to a path of the product or to a full address, and return the server's answer."""
        answer = self.page.goto(address if "://" in address else self.url + address)
        assert answer
        return answer

    def check(self) -> None:
        """Nothing was complained about, and the page does not scroll sideways."""
        too_wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if too_wide > 0:
            self.complaints.append(f"{self.page.url} is {too_wide} px wider than its window of {self.look.width} px")
        assert not self.complaints, "\n".join(dict.fromkeys(self.complaints))

    def every_page(self, start: str = "/") -> Iterator[str]:
        """Follow each kind of link below `start` that the pages offer, once; yields the path of the page that is open."""
        waiting, seen = [start], {_kind(start)}
        while waiting:
            path = waiting.pop(0)
            answer = self.open(path)
            assert answer.status == 200, f"{path} answered {answer.status}"
            yield path
            for found in self._links():
                if found.startswith(start) and _kind(found) not in seen:
                    seen.add(_kind(found))
                    waiting.append(found)

    def _links(self) -> list[str]:
        hrefs = self.page.locator("a[href]:not([download])").evaluate_all("links => links.map(link => link.href)")
        own = [urlsplit(urldefrag(href).url) for href in hrefs if href.startswith(self.url)]
        return [link.path for link in own if not FILES.search(link.path)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type} on {_page_of(message)}: {message.text} ({message.location['url']})")

    def _catch(self, error: WebError) -> None:
        self.complaints.append(f"uncaught on {error.page.url if error.page else self.url}: {error.error}")

    def _watch(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"request to another host: {request.url}")


def _page_of(message: ConsoleMessage) -> str:
    try:
        return message.page.url if message.page else "?"
    except Error:
        return "?"


def _kind(path: str) -> str:
    """The path with its ids left out: pages of one kind look alike."""
    return IDS.sub("*", path)
