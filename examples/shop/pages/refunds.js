// The page of what a visitor bought. What it asks of the server is in examples/shop/__init__.py.

import { deliver, insist, renderForm, renderLines, renderSaid } from "./dialogs.js";
import { attempt, byId, client, money, say, time, watch } from "./page.js";

const WHO = { visitor: "You:", clerk: "The desk:" };
const { products } = await client.query("stock");

const undecided = new Set(); // the purchases whose decision this page has still to tell

watch("book", {}, (book) => {
  const open = book.filter(({ said }) => said.length);
  byId("none").hidden = book.length > 0;
  byId("waiting").textContent = open.length
    ? `${open.length === 1 ? "One request lies" : `${open.length} requests lie`} on the desk.`
    : "Nothing of yours lies on the desk.";
  renderLines(byId("sales"), "sale", book.map((sale) => ({ ...sale.purchase, render: (line) => renderSale(line, sale) })));
  for (const { purchase } of book) tell(purchase);
});

/** Say what was decided, once, if it was open while this page was. */
function tell({ id, sku, decision }) {
  if (!decision) undecided.add(id);
  else if (undecided.delete(id)) {
    say(`${products[sku].name}: ${decision.is_approved ? "taken back" : "not taken back"}. ${decision.word}`, 8_000);
  }
}

function renderSale(line, { purchase, is_asked: isAsked, said, form, due }) {
  const { id, sku, count, decision } = purchase;
  line.querySelector("h3").textContent = products[sku].name;
  line.querySelector(".cost").textContent = `${count > 1 ? `${count} of them, ` : ""}${money.format((count * products[sku].cents) / 100)}`;
  renderSaid(line.querySelector(".said"), said, WHO);
  renderForm(line.querySelector(".answer"), form, (click) => deliver("answer_desk", click));
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
    attempt(() => insist("ask_refund", { purchase: id, why: ask.querySelector("input").value }));
  };
}
