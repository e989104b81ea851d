// Times that stay current, text loaded on demand, copying, filters. No framework; every
// page works without it, with times as the server wrote them.
"use strict";

(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  const largest = (seconds) => {
    for (const [size, unit] of UNITS) {
      if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
    }
    return "0 s";
  };
  const clock = (seconds) => {
    const whole = Math.max(0, Math.ceil(seconds));
    if (whole >= 3600) return largest(whole);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };
  const two = (number) => String(number).padStart(2, "0");
  const local = (date) =>
    `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
    `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

  const rememberZone = () => {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie =
      `aibridge_zone=${zone}; Path=/admin/; Max-Age=31536000; SameSite=Lax${secure}`;
  };

  const showTime = (element) => {
    const date = new Date(element.dateTime);
    const away = (Date.now() - date.getTime()) / 1000;
    if (!element.dataset.told) {
      element.dataset.told = "1";
      const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
      element.title = `${local(date)} ${zone}`;
      if ("stamp" in element.dataset) element.textContent = local(date);
    }
    if ("relative" in element.dataset) {
      element.textContent = away >= 0 ? `${largest(away)} ago` : `in ${largest(-away)}`;
    } else if ("countdown" in element.dataset) {
      element.textContent = away < 0 ? clock(-away) : "now";
    }
  };
  const showTimes = (root) => root.querySelectorAll("time[datetime]").forEach(showTime);

  // One element with megabytes of text takes the browser a minute to lay out; pieces
  // that it lays out when they come into view take no time.
  const PIECE = 20_000;
  const pieces = (text) => {
    const found = [];
    for (let start = 0; start < text.length;) {
      let end = Math.min(start + PIECE, text.length);
      const line = text.lastIndexOf("\n", end - 1);
      if (end < text.length && line > start) end = line + 1;
      const piece = document.createElement("pre");
      piece.textContent = text.slice(start, end);
      found.push(piece);
      start = end;
    }
    return found;
  };

  // "Show all" puts the whole text in place; as textContent it cannot become markup.
  const showWhole = async (link) => {
    const holder = link.closest(".ab-text");
    const answer = await fetch(link.href, { credentials: "same-origin" });
    if (!answer.ok) return;
    const whole = document.createElement("div");
    whole.className = "ab-whole";
    whole.tabIndex = 0;
    whole.append(...pieces(await answer.text()));
    holder.querySelector("pre").replaceWith(whole);
    holder.querySelector(".ab-more").remove();
    whole.focus({ preventScroll: true });
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.copy);
    const text = source.value ?? source.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 1500);
  };

  // Filters: empty fields stay out of the address, local times become UTC.
  const submitFilters = (form) => {
    const ranged = [...form.querySelectorAll("input[data-name]")].filter((f) => f.value);
    for (const field of ranged) {
      const hidden = document.createElement("input");
      hidden.type = "hidden";
      hidden.name = field.dataset.name;
      hidden.value = new Date(field.value).toISOString();
      hidden.dataset.made = "1";
      form.append(hidden);
    }
    if (ranged.length) form.elements.since.disabled = true;
    for (const field of form.elements) {
      if (field.name && !field.value) field.disabled = true;
    }
  };
  // The page may come back from the browser's memory as the submit left it.
  const restoreFilters = (form) => {
    form.querySelectorAll("[data-made]").forEach((field) => field.remove());
    for (const field of form.elements) field.disabled = false;
    for (const field of form.querySelectorAll("input[data-value]")) {
      const date = new Date(field.dataset.value);
      if (field.dataset.value && !Number.isNaN(date.getTime())) {
        field.value = local(date).replace(" ", "T").slice(0, 16);
      }
    }
  };
  const chooseSince = (form) => {
    form.querySelectorAll("input[data-name]").forEach((field) => { field.value = ""; });
  };
  let asking = 0;
  const suggest = (input) => {
    clearTimeout(asking);
    asking = setTimeout(async () => {
      const url = `${input.dataset.options}?q=${encodeURIComponent(input.value)}`;
      const answer = await fetch(url, { credentials: "same-origin" });
      if (!answer.ok) return;
      const values = (await answer.json()).results;
      input.list.replaceChildren(...values.map((value) => {
        const option = document.createElement("option");
        option.value = value;
        return option;
      }));
    }, 150);
  };

  // The toolkit opens menus by clicks on plain elements: give them to the keyboard.
  const NAMES = { dock_to_right: "Show or hide the navigation", close: "Close" };
  const reach = (element) => {
    if (!element.textContent.trim()) return;
    element.tabIndex = 0;
    element.setAttribute("role", "button");
    const icon = element.textContent.trim();
    if (NAMES[icon]) element.setAttribute("aria-label", NAMES[icon]);
    element.addEventListener("keydown", (event) => {
      if (event.target !== element || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      element.click();
    });
  };
  // Icons are words of a font: beside a name they would be read out as part of it.
  const hideIcon = (icon) => {
    const holder = icon.parentElement.closest("a, button, [role=button], h2, li");
    if (holder && holder.textContent.trim() !== icon.textContent.trim()) {
      icon.setAttribute("aria-hidden", "true");
    }
  };
  const CLICKABLE = ["span", "div", "a:not([href])"]
    .map((name) => `${name}[x-on\\:click]:not([id$=-close])`).join(", ");

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-whole-text]");
    if (link) {
      event.preventDefault();
      showWhole(link);
    }
    const button = event.target.closest("button[data-copy]");
    if (button) copy(button);
  });
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("form[data-filters]")) submitFilters(form);
    if (form.dataset.confirm && !confirm(form.dataset.confirm)) event.preventDefault();
  });
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.matches("form[data-filters] select")) return;
    if (field.name === "since") chooseSince(field.form);
    field.form.requestSubmit();
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches("input[data-options]")) suggest(event.target);
  });
  document.addEventListener("aibridge:added", (event) => showTimes(event.target));

  // The first page keeps itself current while somebody only looks at it.
  const REFRESH_MS = 30_000;
  const refresh = async () => {
    const shown = document.querySelector("[data-refresh]");
    if (!shown || document.hidden || shown.contains(document.activeElement)) return;
    const answer = await fetch(location.href, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-refresh]");
    if (!answer.ok || !fresh) return;
    shown.replaceWith(document.adoptNode(fresh));
    showTimes(fresh);
  };

  const start = () => {
    showTimes(document);
    document.querySelectorAll(".material-symbols-outlined").forEach(hideIcon);
    document.querySelectorAll(CLICKABLE).forEach(reach);
    document.getElementById("content")?.setAttribute("role", "main");
    setInterval(() => {
      if (!document.hidden) showTimes(document);
    }, 1000);
    if (document.querySelector("[data-refresh]")) setInterval(refresh, REFRESH_MS);
  };
  // The toolkit shows the page late, when the browser's own autofocus has passed.
  window.addEventListener("load", () => {
    if (document.activeElement !== document.body || location.hash) return;
    document.querySelector("[autofocus]")?.focus();
  });
  window.addEventListener("pageshow", () => {
    document.querySelectorAll("form[data-filters]").forEach(restoreFilters);
  });
  rememberZone();
  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", start);
  } else {
    start();
  }
})();
