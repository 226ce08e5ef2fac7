/* Sends an upload form by script, so that its progress shows; without script the browser sends the same form by itself. */
"use strict";

(() => {
  const megabytes = (bytes) => (bytes / 1048576).toFixed(bytes < 10485760 ? 1 : 0);

  function fail(zone, sentence) {
    const list = document.createElement("ul");
    list.className = "errorlist";
    const item = document.createElement("li");
    item.textContent = sentence;
    list.append(item);
    zone.querySelector("[data-file-errors]").replaceChildren(list);
    zone.querySelector("[data-progress]").hidden = true;
  }

  function tooLarge(zone, file) {
    const limit = Number(zone.dataset.maxBytes);
    if (!file || file.size <= limit) return false;
    fail(zone, `${file.name} has ${megabytes(file.size)} MB, more than the ${megabytes(limit)} MB that one upload may have. Split it into smaller files.`);
    return true;
  }

  function show(zone, sent, total) {
    const box = zone.querySelector("[data-progress]");
    box.hidden = false;
    box.querySelector("progress").value = total ? sent / total : 0;
    box.querySelector("[data-progress-text]").textContent =
      sent < total ? `${megabytes(sent)} of ${megabytes(total)} MB sent` : "Sent. The server is keeping the file.";
  }

  function answerOf(request) {
    try {
      return JSON.parse(request.responseText);
    } catch {
      const plain = (request.getResponseHeader("Content-Type") || "").startsWith("text/plain");
      return { error: plain ? request.responseText : `The server refused the file (error ${request.status}). Nothing was stored; load the page again and retry.` };
    }
  }

  function send(form, zone) {
    const button = form.querySelector("[type=submit]");
    const request = new XMLHttpRequest();
    request.open("POST", form.action || location.href);
    request.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    request.upload.addEventListener("progress", (event) => show(zone, event.loaded, event.total));
    request.addEventListener("load", () => {
      if (request.responseURL.includes("/accounts/login/")) {
        location.assign(request.responseURL);
        return;
      }
      const answer = answerOf(request);
      if (answer.location) {
        location.assign(answer.location);
        return;
      }
      button.disabled = false;
      fail(zone, answer.error);
    });
    request.addEventListener("error", () => {
      button.disabled = false;
      fail(zone, "The connection broke before the file had arrived. Nothing was stored; try again.");
    });
    button.disabled = true;
    request.send(new FormData(form));
  }

  document.querySelectorAll("form[data-upload]").forEach((form) => {
    const zone = form.querySelector("[data-dropzone]");
    const input = zone.querySelector("input[type=file]");
    const clear = () => zone.querySelector("[data-file-errors]").replaceChildren();
    input.addEventListener("change", () => { clear(); tooLarge(zone, input.files[0]); });
    ["dragenter", "dragover"].forEach((name) => zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("is-over"); }));
    ["dragleave", "drop"].forEach((name) => zone.addEventListener(name, () => zone.classList.remove("is-over")));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      clear();
      tooLarge(zone, input.files[0]);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clear();
      if (!input.files.length) fail(zone, "Choose a file first.");
      else if (!tooLarge(zone, input.files[0])) send(form, zone);
    });
  });
})();
