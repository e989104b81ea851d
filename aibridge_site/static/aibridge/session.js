// The session page: loads more on scroll, finds text, and follows a live session.
"use strict";

(() => {
  const root = document.querySelector("[data-session]");
  if (!root) return;

  const fetchHtml = async (url) => {
    const answer = await fetch(url, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    return holder.content;
  };
  const tell = (element) =>
    element.dispatchEvent(new CustomEvent("aibridge:added", { bubbles: true }));

  // Loading: a loader that comes near the screen is replaced by what it stands for.
  const load = async (link) => {
    if (link.dataset.loading) return;
    link.dataset.loading = "1";
    const holder = link.closest(".ab-loader");
    const parent = holder.parentElement;
    try {
      const content = await fetchHtml(link.href);
      const isLast = !content.querySelector(":scope > .ab-loader");
      holder.replaceWith(content);
      if (isLast) parent.dataset.complete = "";
      watch(parent);
      tell(parent);
    } catch {
      delete link.dataset.loading;
      link.textContent = "Could not be loaded. Try again.";
    }
  };
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      load(entry.target);
    }
  }, { rootMargin: "600px" });
  const watch = (element) => {
    element.querySelectorAll("a[data-more]").forEach((link) => seen.observe(link));
  };
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-more]");
    if (!link) return;
    event.preventDefault();
    load(link);
  });

  // Finding
  const form = root.querySelector("form[data-find]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = new FormData(form).get("text");
    const found = await fetchHtml(`${form.action}?text=${encodeURIComponent(text)}`);
    document.getElementById("matches").replaceChildren(found);
  });
  const markTarget = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (!target) return;
    document.querySelectorAll(".is-target").forEach((one) => one.classList.remove("is-target"));
    target.classList.add("is-target");
    target.querySelectorAll("details").forEach((details) => { details.open = true; });
  };
  root.addEventListener("click", (event) => {
    const link = event.target.closest(".ab-matches a");
    const target = link && document.getElementById(link.hash.slice(1));
    if (!target) return;
    event.preventDefault();
    history.replaceState(null, "", link.hash);
    target.scrollIntoView({ block: "center" });
    markTarget();
  });

  // Following: an event says that something changed; what changed is then fetched.
  const put = (step) => {
    const old = document.getElementById(step.id);
    if (old) {
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      step.querySelectorAll("details").forEach((one, i) => { one.open = open[i] ?? one.open; });
      // The thread's prompt stands above its steps already.
      if (!old.querySelector(".ab-prompt")) step.querySelector(".ab-prompt")?.remove();
      old.replaceWith(step);
      return true;
    }
    const list = document.querySelector(`ol[data-thread="${step.dataset.step}"]`);
    if (!list || !("complete" in list.dataset)) return Boolean(list);
    list.append(step);
    return true;
  };
  const newThread = (step) => {
    const threads = document.getElementById("threads");
    if (!("complete" in threads.dataset)) return;
    const section = document.createElement("section");
    section.className = "ab-card ab-thread";
    const list = document.createElement("ol");
    list.className = "ab-steps-list";
    list.dataset.thread = step.dataset.step;
    list.dataset.complete = "";
    list.append(step);
    section.append(list);
    threads.append(section);
  };
  let fetching = false;
  let again = false;
  const update = async () => {
    again = fetching;
    if (fetching) return;
    fetching = true;
    try {
      const url = `${root.dataset.updates}?since=${encodeURIComponent(root.dataset.loaded)}`;
      const content = (await fetchHtml(url)).firstElementChild;
      root.dataset.loaded = content.dataset.loaded;
      for (const part of content.querySelectorAll("template")) {
        if (part.dataset.part === "summary") {
          document.getElementById("summary").replaceChildren(part.content);
        } else {
          const step = part.content.firstElementChild;
          if (!put(step)) newThread(step);
        }
      }
      tell(root);
    } finally {
      fetching = false;
      if (again) update();
    }
  };
  const follow = () => {
    const source = new EventSource(root.dataset.live);
    source.addEventListener("changed", update);
    // What happened between the page and the feed, or while it was away.
    source.addEventListener("open", update);
    window.addEventListener("pagehide", () => source.close());
  };

  watch(root);
  markTarget();
  if (root.dataset.live) follow();
})();
