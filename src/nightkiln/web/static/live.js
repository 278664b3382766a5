// Keeps the page of a job up to date: asks for its changing part whenever the server
// says that something happened, or every two seconds where it cannot say so. The part
// is drawn and escaped by the server; nothing here makes markup out of text.
"use strict";
(() => {
  const place = document.getElementById("live");
  const line = document.getElementById("connection");
  const EVERY_MS = 2000;
  const APART_MS = 1000;
  let stream = null;
  let polling = null;
  let waiting = null;
  let busy = false;
  let said = -1;

  function part() {
    return place.querySelector("article");
  }

  function stop() {
    if (stream) stream.close();
    clearInterval(polling);
    clearTimeout(waiting);
    stream = polling = waiting = null;
  }

  function tell() {
    const { percent, name } = part().dataset;
    document.title = `${percent} % · ${name} · nightkiln`;
    const tenth = Math.floor(Number(percent) / 10);
    if (tenth !== said) {
      said = tenth;
      line.textContent = `${percent} % done`;
    }
  }

  async function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const reply = await fetch(place.dataset.live, { redirect: "error" });
      if (!reply.ok) throw new Error(String(reply.status));
      const drawn = new DOMParser().parseFromString(await reply.text(), "text/html");
      place.replaceChildren(drawn.querySelector("article"));
      if (line.dataset.lost) {
        delete line.dataset.lost;
        said = -1;
      }
      tell();
      if (part().dataset.over === "yes") stop();
    } catch {
      line.dataset.lost = "yes";
      line.textContent = "The server does not answer; what is shown may be old.";
    } finally {
      busy = false;
    }
  }

  function soon() {
    if (waiting === null) {
      waiting = setTimeout(() => {
        waiting = null;
        refresh();
      }, APART_MS);
    }
  }

  function poll() {
    if (stream) stream.close();
    stream = null;
    if (polling === null) polling = setInterval(refresh, EVERY_MS);
  }

  if (part().dataset.over === "yes") return;
  document.addEventListener("visibilitychange", refresh);
  if (!("EventSource" in window)) {
    poll();
    return;
  }
  stream = new EventSource(place.dataset.stream);
  stream.addEventListener("job", soon);
  stream.addEventListener("commit", soon);
  stream.addEventListener("error", poll);
})();
