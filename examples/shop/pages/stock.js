// The page of the stock room. What it asks of the server is in examples/shop/__init__.py.

const client = new sojourn.SojournClient({ retry: { attempts: Infinity, firstMs: 100, longestMs: 500 } });
const byId = (id) => document.getElementById(id);
const PLACES = ["cellar", "loft"];
const other = (place) => PLACES.find((one) => one !== place);
const sum = (rack) => Object.values(rack.items).reduce((count, more) => count + more, 0);

let [asked, shown] = [0, 0]; // of two answers the one asked for later counts
let carriers = 0; // how many are under way

/** Wait for an answer that tells what lies on the racks, and show it. */
async function show(answer) {
  const turn = ++asked;
  const stock = await answer;
  if (turn < shown) return;
  shown = turn;
  render(stock);
}

async function move(sku, target) {
  stairs(1);
  try {
    await show(client.mutation("move", { sku, source: other(target), target }));
  } finally {
    stairs(-1);
  }
}

function stairs(more) {
  carriers += more;
  byId("stairs").textContent =
    carriers > 1 ? `${carriers} carriers are on the stairs.` : `${carriers ? "One carrier" : "Nobody"} is on the stairs.`;
}

function render({ products, racks }) {
  for (const [sku, product] of Object.entries(products)) {
    const thing = byId("racks").querySelector(`.${sku}`) ?? made(sku, product);
    const [cellar, loft] = PLACES.map((place) => racks[place].items[sku]);
    thing.querySelector(".cellar").textContent = cellar;
    thing.querySelector(".loft").textContent = loft;
    thing.querySelector(".share").style.setProperty("--cellar", `${(100 * cellar) / (cellar + loft)}%`);
  }
  for (const place of PLACES) byId(place).textContent = sum(racks[place]);
  byId("total").textContent = sum(racks.cellar) + sum(racks.loft);
  byId("racks").ariaBusy = "false";
}

function made(sku, product) {
  const thing = byId("thing").content.firstElementChild.cloneNode(true);
  thing.classList.add(sku);
  thing.querySelector("use").setAttribute("href", `things.svg#${sku}`);
  thing.querySelector("h3").textContent = product.name;
  for (const button of thing.querySelectorAll("button")) {
    const { target } = button.dataset;
    button.querySelector(".hidden").textContent = `To the ${target}: ${product.name}`;
    button.onclick = () => attempt(() => move(sku, target));
  }
  byId("racks").append(thing);
  return thing;
}

/** Do what was asked for; when it fails, say so in a sentence. */
async function attempt(task) {
  byId("trouble").textContent = "";
  await task().catch(fail);
}

function fail(error) {
  byId("trouble").textContent = error.code === "application" ? error.message : `That did not work: ${error.message}.`;
}

const oneOf = (list) => list[Math.floor(Math.random() * list.length)];

byId("shuffle").onclick = () =>
  attempt(async () => {
    const skus = [...byId("racks").children].map((thing) => thing.classList[1]);
    const moves = Array.from({ length: 20 }, () => move(oneOf(skus), oneOf(PLACES)));
    const failed = (await Promise.allSettled(moves)).find(({ reason }) => reason && reason.code !== "application");
    if (failed) throw failed.reason; // that there was none left to carry is no failure
  });

async function keepUp() {
  for (;;) {
    if (!document.hidden) await show(client.query("stock")).catch(fail);
    await new Promise((resolve) => {
      document.onvisibilitychange = resolve;
      setTimeout(resolve, 1_000);
    });
  }
}

keepUp();
