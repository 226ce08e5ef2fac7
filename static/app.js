/* What every page does in the browser: times in the viewer's zone, dialogs, menus, copying, and a sentence when a request fails. */
"use strict";

(() => {
  const live = () => document.getElementById("live");
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  function showTimes(root) {
    root.querySelectorAll("time[data-when], time[data-ago]").forEach((time) => {
      const moment = new Date(time.dateTime);
      if (Number.isNaN(moment.valueOf())) return;
      if (time.hasAttribute("data-when")) time.textContent = clock.format(moment);
      else time.title = clock.format(moment);
    });
  }

  /* Text only: what a server or a network says is never read as HTML. */
  function say(sentence) {
    const notice = document.createElement("div");
    notice.className = "notice notice-bad";
    const text = document.createElement("div");
    text.textContent = sentence;
    const close = document.createElement("button");
    close.type = "button";
    close.className = "quiet small";
    close.setAttribute("aria-label", "Close this message");
    close.textContent = "✕";
    close.addEventListener("click", () => notice.remove());
    notice.append(text, close);
    live().replaceChildren(notice);
  }

  /* A message about a request stays until the same request succeeds; other requests that go well say nothing about it. */
  let failedPath = null;

  function fail(event, sentence) {
    failedPath = event.detail.pathInfo.requestPath;
    say(sentence);
  }

  /* A session that has ended answers with the sign-in page; it belongs into the window, not into a part of the page. */
  function leaveWhenSignedOut(event) {
    if (!event.detail.xhr.responseURL.includes("/accounts/login/")) return;
    event.detail.shouldSwap = false;
    location.reload();
  }

  function sentenceOf(request) {
    const type = request.getResponseHeader("Content-Type") || "";
    if (type.startsWith("text/plain") && request.responseText) return request.responseText;
    return "The server could not answer this request. Nothing was changed; load the page again.";
  }

  /* On a narrow screen the navigation and the tabs scroll sideways; the current part should be in sight. */
  function showCurrentPart() {
    document.querySelectorAll(".site-nav, .tabs").forEach((nav) => {
      const current = nav.querySelector("[aria-current]");
      if (current) nav.scrollLeft = current.offsetLeft - nav.offsetLeft - (nav.clientWidth - current.clientWidth) / 2;
    });
  }

  /* A part that is asked for again every few seconds must not close what a person opened, or scroll a table back. */
  function keepView(part) {
    const opened = new Map([...part.querySelectorAll("details[id]")].map((details) => [details.id, details.open]));
    const scrolled = [...part.querySelectorAll(".table-scroll")].map((box) => box.scrollLeft);
    return (drawn) => {
      drawn.querySelectorAll("details[id]").forEach((details) => { details.open = opened.get(details.id) ?? details.open; });
      drawn.querySelectorAll(".table-scroll").forEach((box, at) => { box.scrollLeft = scrolled[at] ?? 0; });
    };
  }

  let showAgain = null;

  function start() {
    showTimes(document);
    showCurrentPart();
    hintAtScrolling();
    document.body.addEventListener("htmx:afterSettle", (event) => showTimes(event.target));
    document.body.addEventListener("htmx:beforeSwap", leaveWhenSignedOut);
    document.body.addEventListener("htmx:beforeSwap", (event) => { showAgain = event.detail.target.matches("[hx-trigger^=every]") ? keepView(event.detail.target) : null; });
    document.body.addEventListener("htmx:afterSettle", (event) => { showAgain?.(event.target); showAgain = null; });
    document.body.addEventListener("htmx:responseError", (event) => fail(event, sentenceOf(event.detail.xhr)));
    document.body.addEventListener("htmx:sendError", (event) => fail(event, "The server cannot be reached. Check the connection; this page tries again."));
    document.body.addEventListener("htmx:afterRequest", (event) => {
      if (event.detail.successful && event.detail.pathInfo.requestPath === failedPath) live().replaceChildren();
    });
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens)?.showModal();
    event.target.closest("[data-closes]")?.closest("dialog")?.close();
    if (event.target instanceof HTMLDialogElement) event.target.close();
    const copier = event.target.closest("[data-copies]");
    if (copier) copy(copier);
    document.querySelectorAll("details.menu[open]").forEach((menu) => {
      if (!menu.contains(event.target)) menu.open = false;
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.("details.menu[open]");
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  async function copy(button) {
    const source = document.getElementById(button.dataset.copies);
    await navigator.clipboard.writeText(source.value ?? source.textContent);
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  }

  /* Parts of a form that matter for one choice only stand there while it is chosen. */
  function showNeeded() {
    document.querySelectorAll("[data-needs]").forEach((part) => {
      part.hidden = !document.querySelector(`${part.dataset.needs}:checked`);
    });
  }

  /* Words about a table that scrolls sideways stand above it only where it does. */
  function hintAtScrolling() {
    document.querySelectorAll("[data-if-scrolls]").forEach((hint) => {
      const box = hint.nextElementSibling;
      new ResizeObserver(() => { hint.hidden = box.scrollWidth <= box.clientWidth; }).observe(box);
    });
  }

  document.addEventListener("change", showNeeded);
  window.addEventListener("pageshow", showNeeded);

  window.promptlab = { say };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
