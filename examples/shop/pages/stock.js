// The page of the stock room. What it asks of the server is in examples/shop/__init__.py.

import { attempt, byId, client, keyed, pictured, watch } from "./page.js";

const PLACES = ["cellar", "loft"];
const other = (place) => PLACES.find((one) => one !== place);
const sum = (rack) => Object.values(rack.items).reduce((count, more) => count + more, 0);

let carriers = 0; // how many are under way

watch("stock", {}, ({ products, racks }) => {
  for (const [sku, { name }] of Object.entries(products)) {
    const thing = keyed(byId("racks"), sku, () => made(sku, name));
    const [cellar, loft] = PLACES.map((place) => racks[place].items[sku]);
    thing.querySelector(".cellar").textContent = cellar;
    thing.querySelector(".loft").textContent = loft;
    thing.querySelector(".share").style.setProperty("--cellar", `${(100 * cellar) / (cellar + loft)}%`);
  }
  for (const place of PLACES) byId(place).textContent = sum(racks[place]);
  byId("total").textContent = sum(racks.cellar) + sum(racks.loft);
  byId("racks").ariaBusy = "false";
});

function made(sku, name) {
  const thing = pictured("thing", sku);
  thing.querySelector("h3").textContent = name;
  for (const button of thing.querySelectorAll("button")) {
    const { target } = button.dataset;
    button.querySelector(".hidden").textContent = `To the ${target}: ${name}`;
    button.onclick = () => attempt(() => move(sku, target));
  }
  return thing;
}

/** Carry one thing, and come back when the racks show it. */
async function move(sku, target) {
  stairs(1);
  try {
    await client.mutation("move", { sku, source: other(target), target });
  } finally {
    stairs(-1);
  }
}

function stairs(more) {
  carriers += more;
  byId("stairs").textContent =
    carriers > 1 ? `${carriers} carriers are on the stairs.` : `${carriers ? "One carrier" : "Nobody"} is on the stairs.`;
}

const oneOf = (list) => list[Math.floor(Math.random() * list.length)];

byId("shuffle").onclick = () =>
  attempt(async () => {
    const skus = [...byId("racks").children].map((thing) => thing.dataset.key);
    const moves = Array.from({ length: 20 }, () => move(oneOf(skus), oneOf(PLACES)));
    const failed = (await Promise.allSettled(moves)).find(({ reason }) => reason && reason.code !== "application");
    if (failed) throw failed.reason; // that there was none left to carry is no failure
  });
