// The settings pages: times in the reader's own zone, and fields that belong to a box that is ticked.
// Without it the times are UTC, and every field is shown.
"use strict";
(() => {
  const page = document.documentElement.lang || "en";
  // The reader's own form of the page's language: en-GB and en-US write days differently.
  const language = navigator.languages.find((tag) => tag.split("-")[0] === page) || page;
  const moment = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
  const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "long" });
  const dayAndYear = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric" });

  function write(time) {
    const at = new Date(time.dateTime);
    const thisYear = at.getFullYear() === new Date().getFullYear();
    const form = "day" in time.dataset ? (thisYear ? day : dayAndYear) : moment;
    const text = form.format(at);
    if (!Number.isNaN(at.getTime()) && time.textContent !== text) time.textContent = text;
  }

  function follow() {
    for (const line of document.querySelectorAll("[data-without-script]")) if (!line.hidden) line.hidden = true;
    for (const time of document.querySelectorAll("time[datetime]")) write(time);
    for (const part of document.querySelectorAll("[data-shown-with]")) {
      const box = document.getElementById(part.dataset.shownWith);
      if (box && part.hidden === box.checked) part.hidden = !box.checked;
    }
  }

  document.addEventListener("change", follow);
  addEventListener("pageshow", follow);
  new MutationObserver(follow).observe(document.body, { childList: true, subtree: true });
  follow();
})();
