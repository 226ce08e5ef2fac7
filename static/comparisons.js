/* The comparison form: other data ticks the prompts that were written for it, until a person has chosen prompts. */
"use strict";

(() => {
  const data = document.querySelector("select[name=dataset_version]");
  const boxes = [...document.querySelectorAll("input[name=templates]")];
  let chosen = false;

  boxes.forEach((box) => box.addEventListener("change", () => { chosen = true; }));
  data?.addEventListener("change", () => {
    const own = boxes.filter((box) => "newest" in box.dataset && box.dataset.writtenFor === data.selectedOptions[0].dataset.dataset);
    if (!chosen && own.length) boxes.forEach((box) => { box.checked = own.includes(box); });
  });
})();
