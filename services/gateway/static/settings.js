// The settings pages: days in the reader's own zone and form, and fields that belong to a box that is ticked.
// Without it days and times are UTC, and every field is shown.
"use strict";
(() => {
  const page = document.documentElement.lang || "en";
  const language = navigator.languages.find((tag) => tag.split("-")[0] === page) || page;
  const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "long" });
  const dayAndYear = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric" });

  // The year is said where it is another than this one. Times of the day are app.js's.
  function write(time) {
    const at = new Date(time.dateTime);
    const text = (at.getFullYear() === new Date().getFullYear() ? day : dayAndYear).format(at);
    if (time.textContent !== text) time.textContent = text;
  }

  function follow() {
    for (const line of document.querySelectorAll("[data-without-script]")) if (!line.hidden) line.hidden = true;
    for (const time of document.querySelectorAll("time[data-day]")) write(time);
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
