// The page of the shop. What it asks of the server is in examples/shop/__init__.py.

import { attempt, byId, client, copied, element, fail, keyed, kill, money, pictured, say, time, watch } from "./page.js";

const { tracker } = sojourn; // of the script's tag: it tells that this visitor is here
const tabs = new BroadcastChannel("wayside");

let view; // what the server says: session, name, basket, products, left
let places = {}; // since when which sessions go by this name
let deeds = []; // what was noted of this visitor
let began = 0; // how often the basket had been written when this page began to count
let acknowledged = 0; // that, and the writes confirmed since, to this page or to another tab
let known = 0; // of how many writes this page has been told
let waiting = []; // changes that are on their way
let leaving; // what is to be said of a session that this page itself ends

// -- Watching: each of these is shown as soon as it is different, whoever has changed it

watch("view", {}, (found) => {
  const { writes } = found.basket;
  if (found.session !== view?.session) {
    if (view) renewed();
    began = acknowledged = known = writes;
  }
  if (writes < known) fail(null, `The server has lost ${known - writes} writes. That must never happen.`);
  known = Math.max(known, writes);
  view = found;
  absorb();
  render();
});

watch("signed_in", {}, (found) => {
  places = found;
  render();
});

watch("here", {}, (count) => {
  byId("here").textContent = count === 1 ? "One visitor" : `${count} visitors`;
});

let visitor; // whose deeds are watched
let leave = () => undefined;

function watchDeeds() {
  renderConsent();
  if (tracker.visitorId === visitor) return;
  visitor = tracker.visitorId;
  leave();
  leave = visitor ? watch("log", { visitor }, showDeeds) : () => undefined;
  if (!visitor) showDeeds([]);
}

function showDeeds(found) {
  deeds = found;
  render();
}

// Another tab may have said what may be noted; and a page that nobody has seen has no visitor.
addEventListener("storage", watchDeeds);
document.addEventListener("visibilitychange", watchDeeds);
watchDeeds();

/** There is another session than before. */
function renewed() {
  const ended = "Your session was ended, in another window or by its age. This is a new one.";
  (leaving ?? Promise.resolve(ended)).then((text) => say(text)).catch(() => undefined);
  leaving = undefined;
}

/** Writes that another window has made, and has not told of yet, were acknowledged there. */
function absorb() {
  if (view.basket.writes > acknowledged && !waiting.length && !trial.isRunning) began = acknowledged = view.basket.writes;
}

tabs.onmessage = ({ data }) => {
  if (data.session !== view?.session || data.writes <= began) return;
  acknowledged += 1;
  render();
};

// -- Writing

/** Run a mutation whose result is the basket, and count its acknowledgement. */
async function write(name, args, options) {
  const { session } = view;
  const change = { sku: args?.sku, answer: client.mutation(name, args, options) };
  waiting.push(change);
  render();
  try {
    const { writes } = await change.answer;
    if (session === view.session) {
      acknowledged += 1;
      known = Math.max(known, writes);
      tabs.postMessage({ session, writes });
    }
  } finally {
    waiting = waiting.filter((other) => other !== change);
    absorb();
    render();
  }
}

/** Put something into the basket, or take it out; it is shown before the server has it. */
const add = (sku, count) => attempt(() => write("add", { sku, count }, { optimistic: added }));

function added(local, { sku, count }) {
  const shown = local.get("view");
  if (!shown) return;
  const items = { ...shown.basket.items, [sku]: Math.max(0, (shown.basket.items[sku] ?? 0) + count) };
  local.set("view", {}, { ...shown, basket: { ...shown.basket, items } });
}

// -- Showing

function render() {
  if (!view) return;
  const items = Object.entries(view.basket.items).filter(([, count]) => count);
  const total = money.format(items.reduce((sum, [sku, count]) => sum + view.products[sku].cents * count, 0) / 100);
  const things = items.reduce((sum, [, count]) => sum + count, 0);
  renderGoods(Object.fromEntries(items));
  renderLines(items);
  byId("session").textContent = view.session;
  byId("empty").hidden = things > 0;
  byId("total").textContent = total;
  if (!things && document.activeElement === byId("check-out")) byId("basket-title").focus();
  byId("check-out").disabled = !things;
  byId("peek-count").textContent = things ? `Basket: ${things}` : "Basket: empty";
  byId("peek-total").textContent = things ? total : "";
  byId("acknowledged").textContent = acknowledged;
  byId("found").textContent = view.basket.writes;
  renderName();
  renderPlaces();
  renderDeeds();
}

function renderGoods(items) {
  for (const [sku, product] of Object.entries(view.products)) {
    const good = keyed(byId("goods"), sku, () => {
      const made = pictured("good", sku);
      made.querySelector("h3").textContent = product.name;
      made.querySelector(".about").textContent = product.about;
      made.querySelector(".price").textContent = money.format(product.cents / 100);
      made.querySelector("button .hidden").textContent = ` to the basket: ${product.name}`;
      made.querySelector("button").onclick = () => {
        tracker.track("add", { resourceId: sku });
        add(sku, 1);
      };
      return made;
    });
    const left = view.left[sku];
    good.querySelector(".left").textContent = left > 1 ? `${left} left` : left ? "the last one" : "gone until the hour";
    good.querySelector(".held span").textContent = items[sku];
    good.querySelector(".held").hidden = !items[sku];
  }
  byId("goods").ariaBusy = "false";
}

function renderLines(items) {
  for (const line of [...byId("lines").children]) {
    if (items.some(([sku]) => sku === line.dataset.key)) continue;
    if (line.contains(document.activeElement)) byId("basket-title").focus(); // or the keyboard would start from the top
    line.remove();
  }
  for (const [sku, count] of items) {
    const { name, cents } = view.products[sku];
    const line = keyed(byId("lines"), sku, () => {
      const made = copied("line");
      made.querySelector(".what").textContent = name;
      made.querySelector(".less .hidden").textContent = `One less: ${name}`;
      made.querySelector(".more .hidden").textContent = `One more: ${name}`;
      made.querySelector(".less").onclick = () => add(sku, -1);
      made.querySelector(".more").onclick = () => add(sku, 1);
      return made;
    });
    const left = view.left[sku];
    line.querySelector(".count").textContent = count;
    line.querySelector(".sum").textContent = money.format((cents * count) / 100);
    line.querySelector(".what").dataset.short = left ? `only ${left} left` : "gone until the hour";
    line.classList.toggle("short", count > left);
    line.classList.toggle("waiting", waiting.some((change) => change.sku === sku));
  }
}

function renderName() {
  const title = view.name === null ? "Who is this?" : `Hello, ${view.name}`;
  if (byId("who-title").textContent === title) return;
  const hadFocus = byId("who-title").parentElement.contains(document.activeElement);
  byId("who-title").textContent = title;
  byId("sign-in").hidden = view.name !== null;
  byId("signed-in").hidden = view.name === null;
  if (hadFocus) byId("who-title").focus();
}

const PLACES = 4;

/** Show which sessions go by this name: this one first, then the newest. */
function renderPlaces() {
  const all = Object.entries(places);
  all.sort(([a, sinceA], [b, sinceB]) => (b === view.session) - (a === view.session) || (sinceA < sinceB ? 1 : -1));
  const rows = all
    .slice(0, PLACES)
    .map(([session, since]) => [session === view.session ? "This browser" : "Another browser", `since ${time(since)}`]);
  if (all.length > PLACES) rows.push([`and ${all.length - PLACES} more`, ""]);
  byId("places").replaceChildren(...rows.map((texts) => element("li", {}, ...texts.map((text) => element("span", {}, text)))));
}

const DEEDS = {
  page_view: () => "came to this page",
  add: (sku) => `picked ${view.products[sku]?.name ?? "something"}`,
  check_out: () => "checked out",
};

function renderDeeds() {
  const rows = deeds.map(({ action, sku, at }) => {
    const deed = element("span", {}, `You ${DEEDS[action]?.(sku) ?? action}`);
    return element("li", {}, deed, element("time", {}, time(at)));
  });
  byId("deeds").replaceChildren(...rows);
}

function renderConsent() {
  const isAllowed = tracker.consent() === "granted";
  const isAsked = isAllowed || !(navigator.globalPrivacyControl || navigator.doNotTrack === "1"); // its word counts
  byId("consent-text").textContent = isAllowed
    ? "This shop notes what you do here, for you to see: for two weeks, and under an id that only this browser knows."
    : isAsked
      ? "Nothing of what you do here is noted."
      : "Your browser asks not to be followed, so nothing of what you do here is noted.";
  byId("consent").textContent = isAllowed ? "Stop, and forget me" : "You may note it";
  byId("consent").hidden = !isAsked;
}

byId("consent").onclick = () =>
  attempt(async () => {
    const forgotten = tracker.visitorId;
    tracker.consent(tracker.consent() === "granted" ? "denied" : "granted");
    watchDeeds();
    if (tracker.consent() === "denied" && forgotten) await client.action("forget", { visitor: forgotten });
  });

// -- Buttons

byId("check-out").onclick = () =>
  attempt(async () => {
    await write("check_out");
    tracker.track("check_out");
    say("Thank you. It is all yours, and nothing was charged.");
  });

byId("sign-in").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    await client.action("sign_in", { name: byId("name").value });
    byId("name").value = "";
  });
};

byId("sign-out").onclick = () =>
  end(async () => {
    await client.endSession();
    return "You are signed out, and the basket went with the session. This is a new one.";
  });

byId("sign-out-everywhere").onclick = () =>
  end(async () => {
    const ended = await client.action("sign_out_everywhere");
    return `Signed out everywhere: ${ended === 1 ? "one session" : `${ended} sessions`} ended. This is a new one.`;
  });

/** End the session. What there is to say is said with the next one. */
const end = (task) =>
  attempt(async () => {
    leaving = task();
    await leaving.catch((error) => {
      leaving = undefined;
      throw error;
    });
  });

// On a phone, what leads to the basket is of no use beside it.
new IntersectionObserver(([basket]) => byId("peek").classList.toggle("idle", basket.isIntersecting)).observe(byId("basket"));

// -- The trial: forty writes, and the server killed in their midst

const MARKS = 40;
const trial = { isRunning: false };
byId("dots").append(...Array.from({ length: MARKS }, () => document.createElement("i")));
byId("kill").onclick = () => trial.isRunning || attempt(pullThePlug);

async function pullThePlug() {
  Object.assign(trial, { isRunning: true, told: 0, before: 0, after: 0, diedAt: 0, isDown: false, backAt: 0, killing: null });
  trial.killAt = MARKS / 5 + Math.floor((Math.random() * MARKS) / 3);
  byId("kill").ariaDisabled = "true"; // it keeps the keyboard's focus, which a disabled button loses
  for (const id of ["before", "away", "after"]) byId(id).textContent = "";
  for (const dot of byId("dots").children) dot.className = "";
  verdict("Writing…");
  const clock = setInterval(showAway, 100);
  try {
    await Promise.all(Array.from({ length: MARKS }, (_, index) => sendMark(index)));
    await trial.killing;
    let found;
    do {
      // Clicks go on meanwhile: what is on its way may be in the store and not yet be told.
      await Promise.allSettled(waiting.map((change) => change.answer));
      found = (await client.query("view")).basket.writes;
    } while (waiting.length);
    if (!trial.backAt) showBack(found);
    judge(found);
  } finally {
    clearInterval(clock);
    trial.isRunning = false;
    byId("kill").ariaDisabled = "false";
  }
}

async function sendMark(index) {
  await write("mark");
  trial.told += 1;
  byId("dots").children[index].className = trial.isDown ? "later" : "told";
  if (trial.isDown && !trial.backAt) showBack(known - 1); // this one is counted too
  if (trial.told === trial.killAt) trial.killing = pull();
}

async function pull() {
  await kill();
  trial.diedAt = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 100)); // for an answer that left before the server died
  trial.isDown = true;
  trial.before = acknowledged;
  byId("before").textContent = trial.before;
  const behind = MARKS - trial.told - 1;
  if (behind < 0) return;
  byId("dots").children[trial.told].className = "doubtful";
  verdict(
    `The server is dead. One write was on its way, and nobody knows whether it was done; ${behind} wait behind it. ` +
      "The page sends it again and again, under the request id it had.",
  );
}

function showBack(writes) {
  trial.backAt = performance.now();
  trial.after = Math.min(trial.before, writes);
  byId("after").textContent = trial.after;
  showAway();
}

function showAway() {
  if (!trial.diedAt) return;
  const seconds = ((trial.backAt || performance.now()) - trial.diedAt) / 1_000;
  byId("away").textContent = seconds.toFixed(1);
  if (!trial.backAt && seconds > 15) verdict("The server is dead, and nothing starts it again. Start it with: make run");
}

function judge(found) {
  const isGood = trial.after === trial.before && found === acknowledged;
  byId("dots").ariaLabel = `${MARKS} writes, all acknowledged`;
  const count = `${acknowledged} acknowledged, ${found} in the store`;
  verdict(
    isGood
      ? `Nothing lost, nothing doubled. After ${byId("away").textContent} seconds the server was back, and what had ` +
          `waited was written once each: ${count}.`
      : `That must never happen: ${count}.`,
    isGood ? "good-news" : "bad-news",
  );
}

function verdict(text, kind = "") {
  byId("verdict").textContent = text;
  byId("verdict").className = kind;
}
