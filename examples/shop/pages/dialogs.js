// What both sides of a refund share: how a dialog is shown, and how what is done there reaches the server, once.

import { attempt, byId, client, element, pictured } from "./page.js";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// -- Asking the server

/** Call an action until a server answers. Only for what comes to the same, however often it is called. */
export async function insist(name, args) {
  for (;;) {
    try {
      return await client.action(name, args);
    } catch (error) {
      if (error.code !== "connection_lost") throw error;
    }
    await pause(300);
  }
}

/** Have the server do what was clicked. It knows a click by its id, so one that is sent again counts once. */
export const deliver = (name, click) => insist(name, { click: { delivery: crypto.randomUUID(), ...click } });

// -- Showing

/** Show a line for each of these: those that are there stay, with what was written into them. */
export function renderLines(list, template, lines) {
  for (const line of [...list.children]) if (!lines.some(({ id }) => id === line.dataset.id)) line.remove();
  for (const [at, { id, sku, render }] of lines.entries()) {
    let line = [...list.children].find((child) => child.dataset.id === id);
    if (!line) {
      line = pictured(template, sku);
      line.dataset.id = id;
    }
    if (list.children[at] !== line) list.insertBefore(line, list.children[at]);
    render(line);
  }
  list.ariaBusy = "false";
}

/** Show who said what. */
export function renderSaid(list, said, who) {
  list.replaceChildren(...said.map(({ by, text }) => element("li", { className: by }, element("b", {}, who[by]), ` ${text}`)));
}

/** Show a form to fill in, or none; one that is there keeps what was written into it. */
export function renderForm(place, form, send) {
  if (!form) place.replaceChildren();
  if (!form) return;
  if (!place.firstElementChild) place.append(made(form));
  const shown = place.firstElementChild;
  shown.onsubmit = (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(shown));
    attempt(async () => {
      await send({ token: form.token, fields });
      shown.reset();
    });
  };
}

function made({ title, fields }) {
  const rows = fields.map(({ name, label, most }) => {
    const input = element("input", { name, required: true, autocomplete: "off" });
    if (most) input.maxLength = most;
    return element("label", {}, label, input);
  });
  return element("form", { className: "row" }, ...rows, element("button", {}, title));
}
