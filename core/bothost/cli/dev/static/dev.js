// Fetches what happened since and puts it in place; what somebody has opened or marked stays as it is.
const timeline = document.getElementById("timeline");
const comments = document.getElementById("comments");

async function ask(address) {
  const response = await fetch(address, { cache: "no-store" });
  const page = document.createElement("template");
  if (response.ok) page.innerHTML = await response.text();
  return page;
}

// The newest stands first: only what is new is put before what is there.
async function takeTraffic() {
  const page = await ask("/timeline");
  const shown = timeline.querySelector(".items");
  const items = page.content.querySelectorAll("[data-number]");
  if (!shown) {
    if (items.length || !timeline.hasChildNodes()) timeline.replaceChildren(page.content);
    return;
  }
  const newest = Number(shown.firstElementChild.dataset.number);
  shown.prepend(...[...items].filter((item) => Number(item.dataset.number) > newest));
}

async function takeComments() {
  const page = await ask("/timeline?task=" + comments.dataset.task);
  if (!page.innerHTML || comments.dataset.shown === page.innerHTML) return;
  comments.dataset.shown = page.innerHTML;
  comments.replaceChildren(page.content);
}

async function refresh() {
  try {
    await takeTraffic();
    if (comments) await takeComments();
  } catch { /* the dev loop has stopped, or is being started again */ }
  setTimeout(refresh, 500);
}
refresh();
