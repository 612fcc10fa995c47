// What the dashboard gains by script: pages that follow the log, questions in a dialog, scrubbing. All of it works
// without: every page is complete as the server sends it, and this file only asks for the same pages again.
"use strict";

(() => {
  const SETTLE_MS = 250; // events come in bursts; one look serves them all
  const LOOK_MS = 5000; // what is not in the log: progress, each time something runs;
  const AGE_LOOKS = 6; //   and "3 min ago", now and then
  const REST = 20; // a look that nobody asked for takes no more than a twentieth of the time
  const RETRY_MS = 3000;
  const MOST_ROWS = 400;
  const link = document.getElementById("link");
  const start = Number(document.body.dataset.position || 0);

  // --- the connection, in words ---------------------------------------------------------------------------------

  function say(state) {
    if (!link) return;
    link.className = `link link-${state}`;
    const text = link.dataset[`${state}Text`];
    if (link.textContent !== text) link.textContent = text;
  }

  // --- pages asked for again ------------------------------------------------------------------------------------

  async function pageAt(url) {
    const answer = await fetch(url, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (answer.status === 401) throw new LoggedOut();
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  class LoggedOut extends Error {}

  function swap(before, after) {
    const held = holding(before);
    before.replaceChildren(...document.importNode(after, true).childNodes);
    for (const name of ["class", "aria-labelledby"]) {
      if (after.hasAttribute(name)) before.setAttribute(name, after.getAttribute(name));
    }
    held();
  }

  // What a person has opened, where the focus is, and how far a box is scrolled: kept over a swap.
  function holding(region) {
    const open = [...region.querySelectorAll("details[open]")].map(nameOf);
    const focused = region.contains(document.activeElement) ? nameOf(document.activeElement) : "";
    const scrolled = [...region.querySelectorAll(".scroll, .chart")].map((box) => box.scrollLeft);
    return () => {
      for (const each of region.querySelectorAll("details")) if (open.includes(nameOf(each))) each.open = true;
      if (focused) [...region.querySelectorAll("a, button, input, select, summary, [tabindex]")].find((each) => nameOf(each) === focused)?.focus();
      region.querySelectorAll(".scroll, .chart").forEach((box, n) => { box.scrollLeft = scrolled[n] || 0; });
    };
  }

  function nameOf(element) {
    const within = element.tagName === "DETAILS" ? element.querySelector("summary") : element;
    return element.id || `${element.tagName} ${element.getAttribute("href") || element.getAttribute("formaction") || ""} ${element.getAttribute("aria-label") || within?.textContent || ""} ${element.value || ""}`;
  }

  function grow(before, after) {
    const known = Number(before.rows[0]?.dataset.position || 0);
    const fresh = [...after.rows].filter((row) => Number(row.dataset.position) > known);
    if (fresh.length === after.rows.length && known) return swap(before, after); // more came than a page holds
    for (const row of fresh.reverse()) {
      const here = document.importNode(row, true);
      here.classList.add("fresh");
      before.prepend(here);
    }
    while (before.rows.length > MOST_ROWS) before.lastElementChild.remove();
  }

  function take(page, parts) {
    for (const before of document.querySelectorAll(parts)) {
      const after = page.getElementById(before.id);
      if (after && after.innerHTML !== before.innerHTML) swap(before, after);
    }
    const rows = document.querySelector("tbody[data-rows]");
    const more = page.querySelector("tbody[data-rows]");
    if (rows && more && parts === "[data-live]") grow(rows, more);
    const foot = page.querySelector("footer.site");
    if (foot) document.querySelector("footer.site").replaceChildren(...document.importNode(foot, true).childNodes);
    stretch(page);
    tell();
  }

  // How many things need somebody, said once when it changes; what is swapped as a whole is not read out.
  let needed = "";

  function tell() {
    const count = document.querySelector("#needs-title")?.textContent.trim().replace(/\s+/g, " ") || "";
    if (needed && count !== needed) document.getElementById("told").textContent = count;
    needed = count;
  }

  // --- following the log ----------------------------------------------------------------------------------------

  let paused = false;
  let waiting = 0;
  let looking = false;
  let again = false;
  let took = firstTook();
  let looked = performance.now();

  function firstTook() {
    const load = performance.getEntriesByType("navigation")[0];
    return load ? load.responseEnd - load.requestStart : 0;
  }

  // A page that is dear to make is asked for less often; one that folds the whole log, only now and then.
  function soon() {
    if (paused || waiting || "slow" in document.body.dataset) return;
    waiting = setTimeout(() => { waiting = 0; look(); }, Math.max(SETTLE_MS, 3 * took));
  }

  async function look() {
    if (paused || !document.querySelector("[data-live], [data-rows]") || document.querySelector("dialog[open]")) return;
    if (looking) { again = true; return; }
    looking = true;
    const began = performance.now();
    try {
      const page = await pageAt(location.href);
      took = performance.now() - began;
      if (!paused) take(page, "[data-live]");
    } catch (error) {
      say(error instanceof LoggedOut ? "gone" : "lost");
    } finally {
      looking = false;
      looked = performance.now();
      if (again) { again = false; soon(); }
    }
  }

  let position = start;
  let history_ = "";

  function listen() {
    const source = new EventSource(`/api/events?after=${position}`);
    source.addEventListener("hello", (event) => {
      const { log } = JSON.parse(event.data);
      if (history_ && log !== history_) location.reload();
      history_ = log;
      say(paused ? "paused" : "live");
      soon();
    });
    source.addEventListener("reload", () => location.reload());
    source.onmessage = (event) => {
      position = Number(event.lastEventId) || position;
      document.body.dataset.heard = String(position);
      const about = document.body.dataset.task;
      if (!about || JSON.parse(event.data).task === about) soon();
    };
    source.onerror = () => {
      say("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(knock, RETRY_MS);
    };
  }

  // A stream that was refused never tries again by itself: ask why.
  async function knock() {
    try {
      const answer = await fetch("/api/status", { credentials: "same-origin" });
      if (answer.status === 401) return say("gone");
      listen();
    } catch {
      setTimeout(knock, RETRY_MS);
    }
  }

  function pausing() {
    const button = document.getElementById("pause");
    if (!button) return;
    button.hidden = false;
    button.addEventListener("click", () => {
      paused = !paused;
      button.setAttribute("aria-pressed", String(paused));
      button.textContent = paused ? button.dataset.on : button.dataset.off;
      say(paused ? "paused" : "live");
      if (!paused) look();
    });
  }

  // --- questions in a dialog ------------------------------------------------------------------------------------

  function asking() {
    const dialog = document.getElementById("ask");
    if (!dialog?.showModal) return;
    document.addEventListener("click", async (event) => {
      const button = event.target.closest("button[data-ask]");
      if (!button) return;
      event.preventDefault();
      const url = new URL(button.formAction, location.href);
      if (button.name) url.searchParams.set(button.name, button.value);
      try {
        const page = await pageAt(url);
        ask(dialog, page, button);
      } catch {
        location.assign(url); // the page itself says what is wrong
      }
    });
    dialog.addEventListener("close", soon);
  }

  function ask(dialog, page, button) {
    const main = document.importNode(page.getElementById("main"), true);
    main.querySelector("h1").id = "ask-title";
    dialog.replaceChildren(...main.childNodes);
    for (const each of dialog.querySelectorAll("a[href]")) {
      each.classList.add("button");
      each.addEventListener("click", (event) => { event.preventDefault(); dialog.close(); button.focus(); });
    }
    dialog.showModal();
    dialog.querySelector("form button")?.focus();
  }

  // --- scrubbing ------------------------------------------------------------------------------------------------

  let scrubbing = 0;

  function scrub() {
    const range = document.getElementById("scrub-range");
    if (!range) return;
    range.addEventListener("input", () => {
      document.getElementById("scrub-out").textContent = range.value;
      clearTimeout(scrubbing);
      scrubbing = setTimeout(() => go(range), SETTLE_MS);
    });
  }

  async function go(range) {
    const url = new URL(location.href);
    url.searchParams.set("at", range.value);
    url.searchParams.delete("until");
    const live = document.querySelector("[data-rows]");
    if (live) leaveLive();
    try {
      const page = await pageAt(url);
      if (range.value !== url.searchParams.get("at")) return;
      history.replaceState(null, "", url);
      take(page, "[data-part]");
    } catch {
      say("lost");
    }
  }

  function leaveLive() {
    for (const each of document.querySelectorAll("[data-live]")) each.removeAttribute("data-live");
    document.querySelector("[data-rows]")?.removeAttribute("data-rows");
    document.getElementById("pause")?.remove();
  }

  function stretch(page) {
    const range = document.getElementById("scrub-range");
    const head = page.getElementById("scrub-range")?.max;
    if (!range || !head || !document.querySelector("[data-rows]")) return;
    const atEnd = range.value === range.max;
    range.max = head;
    document.getElementById("scrub-head").textContent = head;
    if (atEnd) document.getElementById("scrub-out").textContent = range.value = head;
  }

  // --- begin ----------------------------------------------------------------------------------------------------

  for (const each of document.querySelectorAll("select[data-submit]")) {
    each.addEventListener("change", () => each.form.requestSubmit());
  }
  tell();
  pausing();
  asking();
  scrub();
  listen();
  let looks = 0;
  setInterval(() => {
    looks += 1;
    const due = looks % AGE_LOOKS === 0 || document.querySelector("#running tbody");
    if (due && !document.hidden && performance.now() - looked > REST * took) look();
  }, LOOK_MS);
})();
