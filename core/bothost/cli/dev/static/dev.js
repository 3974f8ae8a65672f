// Fetches what happened since and puts it in place; what somebody has opened or marked stays as it is.
const timeline = document.getElementById("timeline");
const comments = document.getElementById("comments");

async function take(place, address) {
  const response = await fetch(address, { cache: "no-store" });
  if (!response.ok) return;
  const text = await response.text();
  if (place.dataset.shown === text || place.querySelector("details[open]")) return;
  place.dataset.shown = text;
  place.innerHTML = text;
}

async function refresh() {
  try {
    await take(timeline, "/timeline");
    if (comments) await take(comments, "/timeline?task=" + comments.dataset.task);
  } catch { /* the dev loop has stopped, or is being started again */ }
  setTimeout(refresh, 500);
}
refresh();
