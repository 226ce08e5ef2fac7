/* Draws the figures of a page: data from <script type="application/json">, colours from the style sheet's tokens. */
"use strict";

(() => {
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /* "token:tuned" becomes the value of --tuned; everything else stays as it is. */
  function withTokens(value, style) {
    if (typeof value === "string" && value.startsWith("token:")) {
      const name = value.slice("token:".length);
      return name === "transparent" ? "rgba(0, 0, 0, 0)" : style.getPropertyValue(`--${name}`).trim();
    }
    if (Array.isArray(value)) return value.map((item) => withTokens(item, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withTokens(item, style)]));
    }
    return value;
  }

  function draw(element) {
    const source = document.getElementById(element.dataset.chart);
    if (!source) return;
    const figure = withTokens(JSON.parse(source.textContent), getComputedStyle(document.documentElement));
    if (element.clientWidth < 480) figure.layout.font.size = 11;
    Plotly.react(element, figure.data, figure.layout, CONFIG);
  }

  const drawAll = (root) => root.querySelectorAll("[data-chart]").forEach(draw);

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    document.body.addEventListener("htmx:afterSettle", (event) => drawAll(event.target));
    dark.addEventListener("change", () => drawAll(document));
  });
})();
