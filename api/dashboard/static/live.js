/* Keeps pages fresh. Enters: /v1/live. Leaves: a `live` event on the body, which parts of a page use as their htmx trigger.
   EventSource comes back by itself and sends the last id, so nothing is missed; what it brings only says that it is time to ask again. */
"use strict";
(() => {
  const address = document.body.dataset.live;
  if (!address) return;
  const light = document.getElementById("live");
  const EVERY_MS = 700, SETTLED_MS = 1500, IDLE_MS = 5000;
  let dirty = false, newest = 0, told = 0, source = null;

  const show = (state, words) => {
    if (!light || light.dataset.state === state) return;
    light.dataset.state = state;
    light.querySelector("span").textContent = words;
  };
  const refresh = () => { told = Date.now(); document.body.dispatchEvent(new CustomEvent("live")); };
  const heard = () => { dirty = true; newest = Date.now(); };

  const open = () => {
    source = new EventSource(address);
    source.addEventListener("open", () => { show("live", "live"); heard(); });
    source.addEventListener("error", () => {
      show("down", "reconnecting");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000);
    });
    for (const kind of ["message", "ready", "reset", ...document.body.dataset.kinds.split(" ")]) source.addEventListener(kind, heard);
    source.addEventListener("dropped", () => { source.close(); setTimeout(open, 500); });
  };
  open();
  window.addEventListener("pagehide", () => source && source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });

  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    const settling = now - newest < SETTLED_MS + EVERY_MS && now - newest > SETTLED_MS && told < newest + SETTLED_MS;
    if (dirty || settling || now - told > IDLE_MS) { dirty = false; refresh(); }
  }, EVERY_MS);

  /* What a person opened stays open when its part is replaced. */
  let opened = [];
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    opened = [...event.detail.target.querySelectorAll("details[open][id]")].map((found) => found.id);
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
  });
  /* While the server is away the page stays as it is; the light in the header says so. */
  document.body.addEventListener("htmx:sendError", (event) => event.preventDefault());
})();
