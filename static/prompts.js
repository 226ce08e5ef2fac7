/* The prompt editor: a column's chip puts its slot where the cursor was, and focus stays near when a list is drawn again. */
"use strict";

(() => {
  let last = null;

  /* A refused prompt begins at the first field that needs another word; a folded part opens for it. */
  const wrong = document.querySelector("#prompt-form [aria-invalid=true]");
  wrong?.closest("details")?.setAttribute("open", "");
  wrong?.focus();

  document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea[data-slots]")) last = event.target;
  });

  /* Removing an example takes its button away; the keyboard goes on at the list instead of the top of the page. */
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id === "examples" && document.activeElement === document.body) event.target.querySelector("summary").focus();
  });

  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-insert]");
    if (!chip) return;
    const area = last?.isConnected ? last : document.querySelector("textarea[name=user]");
    area.focus();
    area.setRangeText(chip.dataset.insert, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  });
})();
