// What the pages do better with a script: look again without being loaded again, count down, send a form once.
// Without it everything works: pages that wait refresh themselves, and the server counts.
"use strict";
(() => {
  const main = () => document.getElementById("main");
  const language = document.documentElement.lang || "en";
  const words = (count, unit) =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" }).format(count);

  // The same steps as the server's `clock`: minutes and seconds below five minutes, then minutes to 90, then hours.
  function clock(seconds) {
    if (seconds < 300) {
      const left = Math.max(0, seconds);
      return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} min`;
    }
    const minutes = Math.ceil(seconds / 60);
    return minutes <= 90 ? words(minutes, "minute") : words(Math.ceil(minutes / 60), "hour");
  }

  const ends = new WeakMap(); // a countdown's element -> when it is over, by this page's own clock
  function tick() {
    for (const span of document.querySelectorAll("[data-seconds]")) {
      if (!ends.has(span)) ends.set(span, performance.now() + Number(span.dataset.seconds) * 1000);
      const left = Math.ceil((ends.get(span) - performance.now()) / 1000);
      const text = clock(left);
      if (span.textContent !== text) span.textContent = text;
      const line = span.closest("[data-gone-at-zero]");
      if (line) line.hidden = left <= 0;
    }
    for (const button of document.querySelectorAll("[data-waits]")) {
      const span = button.closest("form").querySelector("[data-seconds]");
      button.disabled = Boolean(span) && performance.now() < ends.get(span);
    }
  }

  // Times come in UTC; here they are written in the reader's zone and their country's form.
  const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) || language;
  const forms = {
    clock: new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" }),
    full: new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
    exact: new Intl.DateTimeFormat(locale, { timeStyle: "medium" }),
  };
  function tellTimes() {
    for (const time of document.querySelectorAll("time[data-clock], time[data-full], time[data-exact]")) {
      const form = Object.keys(forms).find((name) => name in time.dataset);
      const text = forms[form].format(new Date(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // Put what is new into the page: whole where its state has changed, else only the parts that live, so that a code
  // half typed stays and screen readers hear only what is new.
  function take(fresh, address) {
    const now = main();
    const next = fresh.getElementById("main");
    if (!next) return location.assign(address);
    if (now.dataset.state !== next.dataset.state) {
      document.title = fresh.title;
      now.replaceWith(document.adoptNode(next));
      (next.querySelector("[autofocus]") || next).focus();
    } else {
      for (const part of next.querySelectorAll("[data-live]")) {
        const old = document.getElementById(part.id);
        if (!old) {
          const list = part.closest("[data-list]") && document.querySelector("[data-list]");
          if (list) list.append(document.adoptNode(part));
        } else if (!old.contains(document.activeElement) && bare(old) !== bare(part)) {
          old.replaceWith(document.adoptNode(part));
        }
      }
    }
    tick();
    tellTimes();
  }
  const bare = (element) =>
    element.outerHTML.replaceAll(/ (hidden|disabled)=""/g, "").replaceAll(/(data-seconds|data-clock|data-full).*?</g, "<");

  async function look() {
    const before = main();
    try {
      const reply = await fetch(location.pathname + location.search, { headers: { "X-Looks-Again": "1" } });
      if (new URL(reply.url).pathname !== location.pathname) return location.replace(reply.url);
      if (reply.ok && main() === before && !sending) {
        take(new DOMParser().parseFromString(await reply.text(), "text/html"), reply.url);
      }
    } catch {
      // The network is away; the next look may find it back.
    }
    wait();
  }
  function wait() {
    const seconds = Number(main().dataset.poll);
    if (seconds) setTimeout(document.hidden ? waitUntilSeen : look, seconds * 1000);
  }
  function waitUntilSeen() {
    if (!document.hidden) return look();
    document.addEventListener("visibilitychange", look, { once: true });
  }

  let sending = false;
  document.addEventListener("submit", (event) => {
    if (sending) return event.preventDefault();
    sending = true;
    setTimeout(() => { sending = false; }, 5000);
  });
  addEventListener("pageshow", () => { sending = false; });

  // The menu beside the name: a style sheet opens it for pointer and focus, and <details> for whoever taps the arrow.
  // A first tap on the name opens it as well, the second follows the link; Escape closes it, as does a tap elsewhere.
  const menu = document.querySelector(".menu");
  if (menu) {
    const more = menu.querySelector("details");
    const who = menu.querySelector(".who");
    let tapped = false;
    who.addEventListener("pointerdown", (event) => { tapped = event.pointerType === "touch" && !more.open; });
    who.addEventListener("click", (event) => {
      if (!tapped) return;
      event.preventDefault();
      more.open = true;
    });
    const close = () => { more.open = false; };
    document.addEventListener("click", (event) => { if (!menu.contains(event.target)) close(); });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (menu.contains(document.activeElement)) who.focus();
      close();
      menu.classList.add("closed");
    });
    const reopen = () => menu.classList.remove("closed");
    menu.addEventListener("pointerleave", reopen);
    menu.addEventListener("focusout", (event) => { if (!menu.contains(event.relatedTarget)) { reopen(); close(); } });
  }

  tick();
  tellTimes();
  setInterval(tick, 500);
  wait();
})();
