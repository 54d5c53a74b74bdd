// The page of the assistant. What it asks of the server is in examples/shop/__init__.py.

import { attempt as attempted, byId, client, copied, keyed, watch } from "./page.js";

let conversation; // what the server showed last: its turns, the newest, the one shown, what was said up to that
let chosen; // the turn that was clicked on; null follows the newest
let leave = () => undefined; // ends the watching of that

const ENDS = {
  pending: () => "Answering …",
  completed: () => "",
  failed: ({ problem }) => `It failed: ${problem}`,
  aborted: () => "Stopped.",
  expired: () => "Given up, because its server died.",
};

/** Show the conversation up to this turn from now on. */
function choose(turn) {
  if (turn === chosen) return;
  chosen = turn;
  leave();
  let isNew = true;
  leave = watch("conversation", { at: turn }, (found) => {
    conversation = found;
    render();
    if (isNew && turn) byId("said").lastElementChild?.scrollIntoView({ block: "nearest" });
    isNew = false;
  });
}

// -- Asking

/** Do what begins a turn, and follow that. */
async function begin(name, args) {
  await client.action(name, args);
  byId("busy").hidden = true;
  choose(null);
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

/** Do what was asked for; what cannot be while another answer is under way is said beside the question. */
const attempt = (task) =>
  attempted(() =>
    task().catch((error) => {
      if (!error.data?.busy) throw error;
      byId("busy").firstElementChild.textContent = error.message;
      byId("busy").hidden = false;
    }),
  );

// -- Showing what was said

function render() {
  const byTurn = turns();
  const { newest, said } = conversation;
  const current = byTurn.get(conversation.shown);
  for (const line of [...byId("said").children]) {
    if (!said.some(({ turn }) => turn === line.dataset.key)) line.remove();
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
    const made = copied("exchange");
    made.querySelector("h3").textContent = question;
    made.querySelector(".stop").onclick = () => attempt(() => client.action("stop", { turn: turn.id }));
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

// -- Drawing the tree: a row for each step away from the door, a column for each branch

function renderTree(byTurn) {
  const places = placed(byTurn);
  const path = new Set(conversation.said.map(({ turn }) => turn));
  const [columns, rows] = [0, 1].map((axis) => Math.max(0, ...[...places.values()].map((place) => place[axis])) + 1);
  byId("nodes").style.cssText = `--columns: ${columns}; --rows: ${rows}`;
  byId("nodes").hidden = !places.size;
  for (const node of [...byId("nodes").querySelectorAll(".node")]) if (!places.has(node.dataset.key)) node.remove();
  for (const [id, [column, row]] of places) {
    const turn = byTurn.get(id);
    const node = keyed(byId("nodes"), id, () => {
      const made = document.createElement("button");
      made.type = "button";
      made.onclick = () => choose(id);
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
byId("newest").onclick = () => choose(null);
byId("anew").onclick = () =>
  attempt(async () => {
    await client.action("forget_conversation");
    choose(null);
  });
for (const idea of byId("ideas").querySelectorAll("button")) {
  idea.onclick = () => {
    byId("question").value = idea.textContent;
    byId("ask").requestSubmit();
  };
}

choose(null);
