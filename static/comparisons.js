/* The comparison form: other data ticks the prompts that were written for it, until a person has chosen prompts, and offers its own columns.
   What was started from it once is not started again after the browser's Back. */
"use strict";

(() => {
  const data = document.querySelector("select[name=dataset_version]");
  const boxes = [...document.querySelectorAll("input[name=templates]")];
  const cut = document.querySelector("select[name=truncate_column]");
  let chosen = false;

  /* Some browsers show a hidden option all the same; a disabled one cannot be chosen there. */
  function offerColumns() {
    const columns = JSON.parse(data.selectedOptions[0]?.dataset.columns ?? "[]");
    for (const option of cut.options) option.hidden = option.disabled = option.value !== "" && !columns.includes(option.value);
    if (cut.selectedOptions[0]?.disabled) cut.value = "";
  }

  boxes.forEach((box) => box.addEventListener("change", () => { chosen = true; }));
  data?.addEventListener("change", () => {
    const own = boxes.filter((box) => "newest" in box.dataset && box.dataset.writtenFor === data.selectedOptions[0].dataset.dataset);
    if (!chosen && own.length) boxes.forEach((box) => { box.checked = own.includes(box); });
    offerColumns();
  });
  if (data && cut) offerColumns();

  /* Back asks the server for a fresh form; the entry in the history remembers the key of the one that stood there. */
  const key = document.querySelector("#comparison-form input[name=key]");
  if (key) {
    key.value = history.state?.formKey ?? key.value;
    history.replaceState({ ...history.state, formKey: key.value }, "");
  }
})();
