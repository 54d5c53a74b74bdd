// What both sides of a refund share: how a dialog is shown, and how what is done there reaches the server, once.

export const client = new sojourn.SojournClient({ retry: { attempts: Infinity, firstMs: 100, longestMs: 500 } });
export const byId = (id) => document.getElementById(id);
export const time = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
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

/** Do what was asked for; when it fails, say so in a sentence. */
export async function attempt(task) {
  byId("trouble").textContent = "";
  await task().catch(fail);
}

export function fail(error) {
  byId("trouble").textContent = error.code === "application" ? error.message : `That did not work: ${error.message}.`;
}

export function say(text, forMs = Infinity) {
  byId("notice").textContent = text;
  if (forMs < Infinity) setTimeout(() => byId("notice").textContent === text && say(""), forMs);
}

/** Refresh the page once a second, and as soon as it is looked at again. */
export async function keepUp(refresh) {
  for (;;) {
    if (!document.hidden) await answered(refresh()).catch(fail);
    await new Promise((resolve) => {
      document.onvisibilitychange = resolve;
      setTimeout(resolve, 1_000);
    });
  }
}

/** Tell when the server lets this page wait, until it is back. */
async function answered(call) {
  const away = "The server does not answer. This page keeps asking.";
  const patience = setTimeout(() => say(away), 1_500);
  await call;
  clearTimeout(patience);
  if (byId("notice").textContent === away) say("");
}

// -- Showing

/** Show a line for each of these: those that are there stay, with what was written into them. */
export function renderLines(list, template, lines) {
  for (const line of [...list.children]) if (!lines.some(({ id }) => id === line.dataset.id)) line.remove();
  for (const [at, { id, sku, render }] of lines.entries()) {
    let line = [...list.children].find((child) => child.dataset.id === id);
    if (!line) {
      line = byId(template).content.firstElementChild.cloneNode(true);
      line.dataset.id = id;
      line.classList.add(sku);
      line.querySelector("use").setAttribute("href", `things.svg#${sku}`);
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

export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

byId("unplug").onclick = () =>
  attempt(() =>
    client.action("kill_server").catch((error) => {
      if (error.code !== "connection_lost") throw error; // a server that was killed does not say so
    }),
  );
