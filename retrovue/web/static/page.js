// Times and numbers in the reader's own format and zone, and what a run does meanwhile. The page is whole without it.
"use strict";

const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const numbers = new Intl.NumberFormat();

function localize(within) {
  for (const one of within.querySelectorAll("time[datetime]")) {
    one.textContent = times.format(new Date(one.dateTime));
    one.title = one.dateTime;
  }
  for (const one of within.querySelectorAll("data[value]")) one.textContent = numbers.format(Number(one.value));
}

// Each event is a piece of the page, made by the server: it takes the place of the element that has its id.
function put(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  localize(made.content);
  for (const piece of [...made.content.children]) document.getElementById(piece.id)?.replaceWith(piece);
}

function listen(place) {
  const events = new EventSource(place.dataset.live);
  const state = document.getElementById("live-state");
  const say = (text) => { if (state && state.textContent !== text) state.textContent = text; };
  events.addEventListener("open", () => say("Live"));
  events.addEventListener("error", () => say("The connection is lost; trying again"));
  events.addEventListener("piece", (event) => put(event.data));
  events.addEventListener("reload", () => { events.close(); location.reload(); });
  addEventListener("pagehide", () => events.close());
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
}

localize(document);
document.addEventListener("htmx:load", (event) => localize(event.detail.elt));
for (const place of document.querySelectorAll("[data-live]")) listen(place);
