// What all pages have in common: the client, how it stands with the server, and sentences for what goes wrong.

export const client = new sojourn.SojournClient({ retry: { attempts: Infinity, firstMs: 100, longestMs: 500 } });
export const byId = (id) => document.getElementById(id);
export const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
export const time = (at) => new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

// -- Watching

/** Show the answer to a query, now and whenever it is another one. Return what ends that. */
export function watch(name, args, show) {
  let problem;
  return client.subscribe(name, args, ({ status, value, error }) => {
    if (status === "error") fail(error, (problem = stale(error)), Infinity);
    if (status !== "value") return;
    if (byId("trouble").textContent === problem) fail();
    show(value);
  });
}

function stale({ code, message }) {
  if (code === "protocol_unsupported") return "This page is older than its server. Please load it anew.";
  return `What you see may be out of date: ${message}.`;
}

// -- The connection by which the answers come: the page tells when it is away for longer than a moment

const PATIENCE_MS = 1_500;
const AWAY = "The server does not answer. Nothing is lost by waiting.";
let patience;

client.connection.onChange(() => {
  const { state } = client.connection;
  if (state === "closed") patience ??= setTimeout(() => say(AWAY, Infinity), PATIENCE_MS);
  if (state !== "open" && state !== "outdated") return;
  clearTimeout(patience);
  patience = undefined;
  if (byId("notice").textContent === AWAY) say("The server is back.");
});

// -- Doing

/** Do what was asked for; when it fails, say so in a sentence. */
export async function attempt(task) {
  fail();
  await task().catch(fail);
}

/** Kill the server. One that was killed does not say so. */
export async function kill() {
  await client.action("kill_server").catch((error) => {
    if (error.code !== "connection_lost") throw error;
  });
}

const unplug = byId("unplug");
if (unplug) unplug.onclick = () => attempt(kill);

// -- Saying

const silences = {};

export function say(text, forMs = 6_000) {
  show("notice", text, forMs);
}

/** Say what went wrong, until something is done again; without an error, say no more of it. */
export function fail(error, text = error ? sentence(error) : "", forMs = 15_000) {
  if (text) say("");
  show("trouble", text, forMs);
}

function sentence(error) {
  if (error.code === "application") return error.message;
  if (error.code === "connection_lost") return "The server did not answer. What it had taken up by then, you see.";
  if (error.code === "session_invalid") return "Your session has ended. Please try again in the new one.";
  return `That did not work: ${error.message}.`;
}

function show(id, text, forMs) {
  clearTimeout(silences[id]);
  byId(id).textContent = text;
  if (text && forMs < Infinity) silences[id] = setTimeout(() => show(id, ""), forMs);
}

// -- Showing

export function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Return the child of this key; made, and added as the last, when there is none. */
export function keyed(parent, key, make) {
  const found = [...parent.children].find((child) => child.dataset.key === key);
  if (found) return found;
  const made = make();
  made.dataset.key = key;
  parent.append(made);
  return made;
}

/** Return what a template holds, anew. */
export const copied = (template) => byId(template).content.firstElementChild.cloneNode(true);

/** Return the same for a product, with its picture. */
export function pictured(template, sku) {
  const made = copied(template);
  made.classList.add(sku);
  made.querySelector("use").setAttribute("href", `things.svg#${sku}`);
  return made;
}
