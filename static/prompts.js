/* The prompt editor: a column's chip puts its slot where the cursor was. */
"use strict";

(() => {
  let last = null;

  document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea[data-slots]")) last = event.target;
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
