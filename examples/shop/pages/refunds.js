// The page of what a visitor bought. What it asks of the server is in examples/shop/__init__.py.

import { attempt, byId, client, deliver, fail, insist, keepUp, renderForm, renderLines, renderSaid, say, time } from "./dialogs.js";

const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const WHO = { visitor: "You:", clerk: "The desk:" };
const { products } = await client.query("view");

let [asked, shown] = [0, 0]; // of two answers the one asked for later counts
let followed; // the request whose end this page waits for

async function refresh() {
  const turn = ++asked;
  const book = await client.query("book");
  if (turn < shown) return;
  shown = turn;
  const open = book.filter(({ said }) => said.length);
  byId("none").hidden = book.length > 0;
  byId("waiting").textContent = open.length
    ? `${open.length === 1 ? "One request lies" : `${open.length} requests lie`} on the desk.`
    : "Nothing of yours lies on the desk.";
  renderLines(byId("sales"), "sale", book.map((sale) => ({ ...sale.purchase, render: (line) => renderSale(line, sale) })));
  if (open.length && !followed) follow(open[0].purchase).catch(fail);
}

/** Wait for what becomes of a request. A call that its server does not live to answer is made again, to the next one. */
async function follow({ id, sku }) {
  followed = id;
  try {
    let decision = null;
    while (!decision) decision = await insist("await_refund", { purchase: id });
    say(`${products[sku].name}: ${decision.is_approved ? "taken back" : "not taken back"}. ${decision.word}`, 8_000);
  } finally {
    followed = undefined;
  }
  await refresh();
}

function renderSale(line, { purchase, is_asked: isAsked, said, form, due }) {
  const { id, sku, count, decision } = purchase;
  line.querySelector("h3").textContent = products[sku].name;
  line.querySelector(".cost").textContent = `${count > 1 ? `${count} of them, ` : ""}${money.format((count * products[sku].cents) / 100)}`;
  renderSaid(line.querySelector(".said"), said, WHO);
  renderForm(line.querySelector(".answer"), form, async (click) => {
    await deliver("answer_desk", click);
    await refresh();
  });
  const standing = line.querySelector(".standing");
  standing.className = `standing ${decision ? (decision.is_approved ? "yes" : "no") : ""}`;
  standing.textContent = decision
    ? `${decision.is_approved ? "Taken back." : "Not taken back."} ${decision.word}`
    : said.length
      ? form ? `The desk asks. Please answer by ${time(due)}.` : `The desk has until ${time(due)} to decide.`
      : isAsked ? "It is being decided just now." : "";
  const ask = line.querySelector(".ask");
  ask.hidden = isAsked || !!decision;
  ask.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    attempt(async () => {
      await insist("ask_refund", { purchase: id, why: ask.querySelector("input").value });
      await refresh();
    });
  };
}

keepUp(refresh);
