"use strict";
(() => {
  const full = new Intl.DateTimeFormat(document.documentElement.lang, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" });
  const localise = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const text = full.format(new Date(time.dateTime));
      time.title = text;
      if ("full" in time.dataset) time.textContent = text;
    }
  };
  localise(document);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const field = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
  for (const menu of document.querySelectorAll("details.menu")) {
    menu.addEventListener("toggle", () => menu.open && menu.querySelector("input:not([type=hidden])")?.focus());
    menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  const parts = [...document.querySelectorAll("[data-refresh]")];
  const rests = (part) => part.contains(document.activeElement) || part.querySelector("details[open], input:checked");
  const refresh = async () => {
    if (!document.hidden && !parts.every(rests)) {
      try {
        const response = await fetch(location.href, { credentials: "same-origin" });
        if (response.ok && !response.redirected) {
          const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
          localise(fresh);
          for (const part of parts) {
            const now = fresh.getElementById(part.id);
            if (now && !rests(part) && now.innerHTML !== part.innerHTML) part.innerHTML = now.innerHTML;
          }
        }
      } catch {
        // the host restarts: the next look finds it again
      }
    }
    setTimeout(refresh, 2000);
  };
  if (parts.length) setTimeout(refresh, 2000);

  const live = document.getElementById("live");
  if (!live) return;
  const pulse = document.querySelector("[data-live]");
  const toggle = document.querySelector("[data-live-toggle]");
  let following = true;
  let last = "";
  document.querySelector("[data-live-only]").hidden = false;
  const ids = () => new Set([...live.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
  const look = async () => {
    if (following && !document.hidden) {
      try {
        const response = await fetch(live.dataset.rows + location.search, { credentials: "same-origin" });
        if (response.status === 401) return location.reload();
        const html = await response.text();
        pulse.hidden = !response.ok;
        if (response.ok && html !== last && !live.contains(document.activeElement)) {
          const known = ids();
          live.innerHTML = html;
          localise(live);
          if (last) for (const row of live.querySelectorAll("tr[data-id]")) row.classList.toggle("new", !known.has(row.dataset.id));
          last = html;
        }
      } catch {
        pulse.hidden = true;
      }
    }
    setTimeout(look, 1000);
  };
  toggle.addEventListener("click", () => {
    following = !following;
    pulse.hidden = !following;
    toggle.setAttribute("aria-pressed", String(!following));
    toggle.textContent = following ? toggle.dataset.stop : toggle.dataset.go;
  });
  look();
})();
