// The page of the assistant. What it asks of the server is in examples/shop/__init__.py.

const client = new sojourn.SojournClient({ retry: { attempts: Infinity, firstMs: 100, longestMs: 500 } });
const byId = (id) => document.getElementById(id);

let conversation; // what the server showed last: its turns, the newest, the one shown, what was said up to that
let chosen = null; // the turn that was clicked on; null follows the newest
let [asked, shown] = [0, 0]; // of two answers the one asked for later counts

const ENDS = {
  pending: () => "Answering …",
  completed: () => "",
  failed: ({ problem }) => `It failed: ${problem}`,
  aborted: () => "Stopped.",
  expired: () => "Given up, because its server died.",
};

// -- Asking

/** Ask the server for everything, and show it. */
async function refresh() {
  const turn = ++asked;
  const found = await answered(client.query("conversation", { at: chosen }));
  if (turn < shown) return;
  shown = turn;
  conversation = found;
  render();
}

/** Do what begins a turn, and follow that. */
async function begin(name, args) {
  await client.action(name, args);
  chosen = null;
  byId("busy").hidden = true;
  await refresh();
}

async function ask(question, beside = false) {
  await begin("ask", { question, beside, after: chosen && base()?.id });
  byId("question").value = "";
}

/** The turn that a question goes on from: the one shown, or the last before it that was completed. */
function base() {
  const byTurn = turns();
  let turn = byTurn.get(conversation.shown);
  while (turn && turn.status !== "completed") turn = byTurn.get(turn.parent);
  return turn;
}

/** The turns by their ids, each with its number. */
const turns = () => new Map(conversation.turns.map((turn, index) => [turn.id, { ...turn, number: index + 1 }]));

async function choose(id) {
  chosen = id;
  await refresh();
  byId("said").lastElementChild?.scrollIntoView({ block: "nearest" });
}

/** Tell when the server lets a question wait, and when it is back. */
async function answered(call) {
  const patience = setTimeout(() => (byId("notice").textContent = "The server does not answer. This page keeps asking."), 800);
  try {
    const answer = await call;
    byId("notice").textContent = "";
    return answer;
  } finally {
    clearTimeout(patience);
  }
}

/** Do what was asked for; when it fails, say so in a sentence. */
async function attempt(task) {
  byId("trouble").textContent = "";
  await task().catch(fail);
}

function fail(error) {
  const place = error.data?.busy ? byId("busy").firstElementChild : byId("trouble");
  place.textContent = sentence(error);
  byId("busy").hidden = place === byId("trouble");
}

function sentence(error) {
  if (error.code === "application") return error.message;
  if (error.code === "connection_lost") return "The server did not answer. What it had taken up by then, the tree shows.";
  return `That did not work: ${error.message}.`;
}

// -- Showing what was said

function render() {
  const byTurn = turns();
  const { newest, said } = conversation;
  const current = byTurn.get(conversation.shown);
  for (const line of [...byId("said").children]) {
    if (!said.some(({ turn }) => turn === line.dataset.id)) line.remove();
  }
  for (const exchange of said) renderExchange(byTurn.get(exchange.turn), exchange);
  byId("said").ariaBusy = "false";
  const from = base();
  byId("from").textContent = current && current.id !== newest && from ? `Your question, from ${from.number} on` : "Your question";
  byId("caption").textContent = current
    ? `You see turn ${current.number} of ${byTurn.size}. Click another to go on from there.`
    : "Nothing was asked yet.";
  if (conversation.turns.every(({ status }) => status !== "pending")) byId("busy").hidden = true;
  byId("greeting").hidden = !!current;
  byId("newest").hidden = !current || current.id === newest;
  byId("anew").hidden = !current;
  renderTree(byTurn);
}

function renderExchange(turn, { question, answer }) {
  const line = keyed(byId("said"), turn.id, () => {
    const made = byId("exchange").content.firstElementChild.cloneNode(true);
    made.querySelector("h3").textContent = question;
    made.querySelector(".stop").onclick = () => attempt(() => client.action("stop", { turn: turn.id }).then(refresh));
    made.querySelector(".again").onclick = () => attempt(() => begin("ask_again", { turn: turn.id }));
    return made;
  });
  const isPending = turn.status === "pending";
  line.className = `exchange ${turn.status}`;
  line.querySelector(".node").textContent = turn.number;
  line.querySelector(".answer").textContent = answer;
  line.querySelector(".end .small").textContent = ENDS[turn.status](turn);
  line.querySelector(".stop").hidden = !isPending;
  line.querySelector(".again").hidden = isPending;
}

/** Return the child with this id; made anew, and the last, when there is none. */
function keyed(parent, id, make) {
  const found = [...parent.children].find((child) => child.dataset.id === id);
  if (found) return found;
  const made = make();
  made.dataset.id = id;
  parent.append(made);
  return made;
}

// -- Drawing the tree: a row for each step away from the door, a column for each branch

function renderTree(byTurn) {
  const places = placed(byTurn);
  const path = new Set(conversation.said.map(({ turn }) => turn));
  const [columns, rows] = [0, 1].map((axis) => Math.max(0, ...[...places.values()].map((place) => place[axis])) + 1);
  byId("nodes").style.cssText = `--columns: ${columns}; --rows: ${rows}`;
  byId("nodes").hidden = !places.size;
  for (const node of [...byId("nodes").querySelectorAll(".node")]) if (!places.has(node.dataset.id)) node.remove();
  for (const [id, [column, row]] of places) {
    const turn = byTurn.get(id);
    const node = keyed(byId("nodes"), id, () => {
      const made = document.createElement("button");
      made.type = "button";
      made.onclick = () => attempt(() => choose(id));
      return made;
    });
    const isShown = id === conversation.shown;
    node.className = `node ${turn.status}`;
    node.style.cssText = `--column: ${column}; --row: ${row}`;
    node.textContent = turn.number;
    node.ariaLabel = `Turn ${turn.number}, ${turn.status}`;
    if (isShown && node.ariaCurrent !== "true") centre(node);
    node.ariaCurrent = isShown ? "true" : null;
  }
  renderEdges(byTurn, places, path, columns, rows);
}

/** Say where each turn stands. First children stay in their parent's column, the others go to the next that is free. */
function placed(byTurn) {
  const places = new Map();
  const taken = new Set();
  const children = Map.groupBy(byTurn.values(), ({ parent }) => (byTurn.has(parent) ? parent : null));
  const grow = (first, beside, row) => {
    const line = [first];
    while (children.has(line.at(-1).id)) line.push(children.get(line.at(-1).id)[0]);
    let column = beside;
    while (line.some((_, index) => taken.has(`${column} ${row + index}`))) column += 1;
    for (const [index, { id }] of line.entries()) {
      taken.add(`${column} ${row + index}`);
      places.set(id, [column, row + index]);
    }
    for (const { id } of line.reverse()) {
      for (const other of children.get(id)?.slice(1) ?? []) grow(other, column + 1, places.get(id)[1] + 1);
    }
  };
  for (const root of children.get(null) ?? []) grow(root, 0, 1);
  return places;
}

/** Have this turn seen where the tree is larger than its frame; the page itself stays where it is. */
function centre(node) {
  const frame = byId("tree");
  frame.scrollTo(node.offsetLeft - frame.clientWidth / 2, node.offsetTop - frame.clientHeight / 2);
}

function renderEdges(byTurn, places, path, columns, rows) {
  byId("edges").setAttribute("viewBox", `0 0 ${columns} ${rows}`);
  const edges = [...places].map(([id, [column, row]]) => {
    const [x, y] = [column + 0.5, row + 0.5];
    const [fromX, fromY] = (places.get(byTurn.get(id).parent) ?? [0, 0]).map((place) => place + 0.5);
    const way = `M${fromX} ${fromY}C${fromX} ${fromY + 0.6} ${x} ${fromY + 0.4} ${x} ${y}`;
    return drawn("path", { class: path.has(id) ? "edge on" : "edge", d: way });
  });
  edges.sort((one, other) => one.classList.contains("on") - other.classList.contains("on")); // the path lies on top
  byId("edges").replaceChildren(...edges, drawn("path", { class: "door", d: "M.5 .3L.7 .8H.3Z" }));
}

function drawn(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  return made;
}

// -- Buttons

byId("ask").onsubmit = (event) => {
  event.preventDefault();
  attempt(() => ask(byId("question").value));
};
byId("beside").onclick = () => attempt(() => ask(byId("question").value, true));
byId("newest").onclick = () => attempt(() => choose(null));
byId("anew").onclick = () =>
  attempt(async () => {
    await client.action("forget_conversation");
    await choose(null);
  });
byId("unplug").onclick = () =>
  attempt(() =>
    client.action("kill_server").catch((error) => {
      if (error.code !== "connection_lost") throw error; // a server that was killed does not say so
    }),
  );
for (const idea of byId("ideas").querySelectorAll("button")) {
  idea.onclick = () => {
    byId("question").value = idea.textContent;
    byId("ask").requestSubmit();
  };
}

// -- Keeping up with the answer, and with other windows

async function keepUp() {
  for (;;) {
    if (!document.hidden) await refresh().catch(fail);
    await new Promise((resolve) => {
      document.onvisibilitychange = resolve;
      setTimeout(resolve, 1_000);
    });
  }
}

keepUp();
