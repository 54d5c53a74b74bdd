// The page of the desk. What it asks of the server is in examples/shop/__init__.py.

import { deliver, renderForm, renderLines, renderSaid } from "./dialogs.js";
import { attempt, byId, element, time, watch } from "./page.js";

const WHO = { visitor: "The visitor:", clerk: "The desk:" };

let cards, stock; // what the server showed last

watch("desk", {}, (found) => {
  cards = found;
  render();
});
watch("stock", {}, (found) => {
  stock = found;
  render();
});

function render() {
  if (!cards || !stock) return;
  byId("none").hidden = cards.length > 0;
  renderLines(
    byId("cards"),
    "card",
    cards.map((card) => ({ id: card.id, sku: card.request.sku, render: (line) => renderCard(line, card, stock.products) })),
  );
  byId("cellar").replaceChildren(
    ...Object.entries(stock.products).map(([sku, { name }]) =>
      element("div", { className: sku }, element("dt", {}, name), element("dd", {}, stock.racks.cellar.items[sku])),
    ),
  );
}

function renderCard(line, { id, request, rows, form, due }, products) {
  const name = products[request.sku].name;
  const what = line.querySelector(".what");
  const send = async (click) => {
    what.disabled = true; // a second click goes nowhere
    try {
      await deliver("decide", click);
    } finally {
      what.disabled = false;
    }
  };
  line.querySelector("h3").textContent = `${request.count > 1 ? `${request.count} × ` : ""}${name}`;
  line.querySelector("legend").textContent = `What becomes of it: ${name}`;
  line.querySelector(".due").textContent = `Without a word, it is declined at ${time(due)}.`;
  renderSaid(line.querySelector(".said"), request.said, WHO);
  renderRows(line.querySelector(".rows"), rows, send);
  renderForm(line.querySelector(".asking"), form, send);
}

/** Show the buttons and choices of a dialog. Those that are there stay as they are, unless they lead elsewhere. */
function renderRows(place, rows, send) {
  const wanted = JSON.stringify(rows);
  if (place.dataset.rows === wanted) return;
  place.dataset.rows = wanted;
  place.replaceChildren(...rows.map((row) => element("div", { className: "row" }, ...row.map((one) => component(one, send)))));
}

function component(one, send) {
  if (one.type === "button") {
    const made = element("button", { type: "button", className: one.style ?? "", disabled: one.disabled ?? false }, one.label);
    made.onclick = () => attempt(() => send({ token: one.token }));
    return made;
  }
  const first = element("option", { value: "" }, one.placeholder);
  const options = one.options.map(({ label, value }) => element("option", { value }, label));
  const choice = element("select", { required: true, ariaLabel: one.placeholder }, first, ...options);
  const made = element("form", { className: "row" }, choice, element("button", {}, "Decide so"));
  made.onsubmit = (event) => {
    event.preventDefault();
    attempt(() => send({ token: one.token, values: [choice.value] }));
  };
  return made;
}
