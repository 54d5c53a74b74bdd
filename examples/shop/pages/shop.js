// The page of the shop. What it asks of the server is in examples/shop/__init__.py.

// The page never gives up: a call without an answer is sent again, a mutation under the request id it had.
const client = new sojourn.SojournClient({ retry: { attempts: Infinity, firstMs: 100, longestMs: 500 } });
const { tracker } = sojourn; // of the script's tag: it tells that this visitor is here
const tabs = new BroadcastChannel("wayside");
const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const byId = (id) => document.getElementById(id);

let view; // what the server showed last: session, name, basket, products, left
let began = 0; // how often the basket had been written when this page began to count
let acknowledged = 0; // that, and the writes confirmed since, to this page or to another tab
let waiting = []; // changes that are on their way
let isLeaving = false; // this page itself ends the session just now
let [asked, shown] = [0, 0]; // of two answers the one asked for later counts

// -- Reading and writing

/** Ask the server for everything, and show it. */
async function refresh() {
  const [turn, before] = [++asked, acknowledged];
  const found = await answered(client.query("view"));
  if (turn < shown) return;
  shown = turn;
  const { writes } = found.basket;
  if (found.session !== view?.session) {
    if (view && !isLeaving) say("Your session was ended, in another window or by its age. This is a new one.");
    began = acknowledged = writes;
  } else if (writes < before) {
    fail(`The server has lost ${before - writes} writes. That must never happen.`);
  } else if (writes < view.basket.writes) {
    found.basket = view.basket; // a write was faster than this answer
  } else if (writes > acknowledged && !waiting.length && !trial.isRunning) {
    began = acknowledged = writes; // another window wrote, and has not told yet
  }
  view = found;
  render();
}

/** Run a mutation whose result is the basket, and count its acknowledgement. Shown at once, as if it were done. */
async function write(name, args = {}) {
  const change = { sku: args.sku, count: args.count ?? 0, answer: answered(client.mutation(name, args)) };
  waiting.push(change);
  render();
  try {
    const basket = await change.answer;
    if (client.session?.id === view.session) {
      acknowledged += 1;
      tabs.postMessage({ session: view.session, writes: basket.writes });
      if (basket.writes > view.basket.writes) view.basket = basket;
    }
    return basket;
  } finally {
    waiting = waiting.filter((other) => other !== change);
    render();
  }
}

/** Do what was asked for; when it fails, say so in a sentence. */
async function attempt(task) {
  show("trouble", "");
  try {
    await task();
  } catch (error) {
    fail(sentence(error));
  }
}

/** Tell when a server lets a call wait, and when it is back. */
async function answered(call) {
  const patience = setTimeout(() => {
    if (!trial.isRunning) say("The server does not answer. This page keeps trying; nothing is lost by waiting.", true);
  }, 1_500);
  try {
    const answer = await call;
    if (byId("notice").dataset.isAway) say("The server is back.");
    return answer;
  } finally {
    clearTimeout(patience);
  }
}

function sentence(error) {
  if (error.code === "connection_lost") return "The server did not answer. Please try again.";
  if (error.code === "session_invalid") return "Your session has ended. Please try again in the new one.";
  if (error.code === "application") return error.message;
  return `That did not work: ${error.message}.`;
}

// -- Saying

function say(text, isAway = false) {
  show("notice", text, isAway ? Infinity : 6_000);
  byId("notice").dataset.isAway = isAway ? "yes" : "";
}

function fail(text) {
  show("notice", "");
  show("trouble", text, 15_000);
}

const silences = {};

function show(id, text, forMs = 0) {
  clearTimeout(silences[id]);
  byId(id).textContent = text;
  if (text && forMs < Infinity) silences[id] = setTimeout(() => show(id, ""), forMs);
}

// -- Showing

/** The basket as it will be once all that is on its way has arrived. */
function expected() {
  const items = { ...view.basket.items };
  for (const { sku, count } of waiting) if (sku) items[sku] = Math.max(0, (items[sku] ?? 0) + count);
  return Object.entries(items).filter(([, count]) => count);
}

function render() {
  if (!view) return;
  const items = expected();
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
}

function renderGoods(items) {
  for (const [sku, product] of Object.entries(view.products)) {
    const good = keyed(byId("goods"), sku, "good", (made) => {
      made.classList.add(sku);
      made.querySelector("use").setAttribute("href", `things.svg#${sku}`);
      made.querySelector("h3").textContent = product.name;
      made.querySelector(".about").textContent = product.about;
      made.querySelector(".price").textContent = money.format(product.cents / 100);
      made.querySelector("button .hidden").textContent = ` to the basket: ${product.name}`;
      made.querySelector("button").onclick = () =>
        attempt(async () => {
          tracker.track("add", { resourceId: sku });
          await write("add", { sku });
        });
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
    if (items.some(([sku]) => sku === line.dataset.sku)) continue;
    if (line.contains(document.activeElement)) byId("basket-title").focus(); // or the keyboard would start from the top
    line.remove();
  }
  for (const [sku, count] of items) {
    const { name, cents } = view.products[sku];
    const line = keyed(byId("lines"), sku, "line", (made) => {
      made.querySelector(".what").textContent = name;
      made.querySelector(".less .hidden").textContent = `One less: ${name}`;
      made.querySelector(".more .hidden").textContent = `One more: ${name}`;
      made.querySelector(".less").onclick = () => attempt(() => write("add", { sku, count: -1 }));
      made.querySelector(".more").onclick = () => attempt(() => write("add", { sku }));
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

/** Return the child of this key; made from the template, and by `fill`, when there is none. */
function keyed(parent, sku, template, fill) {
  const found = [...parent.children].find((child) => child.dataset.sku === sku);
  if (found) return found;
  const made = byId(template).content.firstElementChild.cloneNode(true);
  made.dataset.sku = sku;
  fill(made);
  parent.append(made);
  return made;
}

const PLACES = 4;

/** Show which sessions go by this name: this one first, then the newest. */
async function renderPlaces() {
  const places = Object.entries(await client.action("signed_in"));
  places.sort(([a, sinceA], [b, sinceB]) => (b === view.session) - (a === view.session) || (sinceA < sinceB ? 1 : -1));
  const rows = places.slice(0, PLACES).map(([session, since]) => {
    const time = new Date(since).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    return [session === view.session ? "This browser" : "Another browser", `since ${time}`];
  });
  if (places.length > PLACES) rows.push([`and ${places.length - PLACES} more`, ""]);
  byId("places").replaceChildren(...rows.map((texts) => element("li", texts.map((text) => element("span", [text])))));
}

function element(name, children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

// -- Who is here, and what was noted

const DEEDS = {
  page_view: () => "came to this page",
  add: (sku) => `picked ${view.products[sku]?.name ?? "something"}`,
  check_out: () => "checked out",
};

async function renderHere() {
  const visitor = tracker.visitorId;
  const [here, deeds] = await Promise.all([client.query("here"), visitor ? client.query("log", { visitor }) : []]);
  byId("here").textContent = here === 1 ? "One visitor" : `${here} visitors`;
  byId("deeds").replaceChildren(
    ...deeds.map(({ action, sku, at }) => {
      const time = element("time", [new Date(at).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" })]);
      return element("li", [element("span", [`You ${DEEDS[action]?.(sku) ?? action}`]), time]);
    }),
  );
  renderConsent();
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
    const visitor = tracker.visitorId;
    tracker.consent(tracker.consent() === "granted" ? "denied" : "granted");
    if (tracker.consent() === "denied" && visitor) await client.action("forget", { visitor });
    await renderHere();
  });

// -- Buttons

byId("check-out").onclick = () =>
  attempt(async () => {
    await write("check_out");
    tracker.track("check_out");
    say("Thank you. It is all yours, and nothing was charged.");
    await refresh();
  });

byId("sign-in").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    await alone(() => client.action("sign_in", { name: byId("name").value }));
    byId("name").value = "";
    tabs.postMessage({ session: view.session });
    await refresh();
    await renderPlaces();
  });
};

byId("sign-out").onclick = () =>
  attempt(() =>
    leave(async () => {
      await client.endSession();
      return "You are signed out, and the basket went with the session. This is a new one.";
    }),
  );

byId("sign-out-everywhere").onclick = () =>
  attempt(() =>
    leave(async () => {
      const ended = await client.action("sign_out_everywhere");
      return `Signed out everywhere: ${ended === 1 ? "one session" : `${ended} sessions`} ended. This is a new one.`;
    }),
  );

async function leave(end) {
  isLeaving = true;
  try {
    const text = await alone(end);
    tabs.postMessage({ session: view.session });
    await refresh();
    say(text);
  } finally {
    isLeaving = false;
  }
}

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
    do {
      // Clicks go on meanwhile: what is on its way may be in the store and not yet be told.
      await Promise.allSettled(waiting.map((change) => change.answer));
      await refresh();
    } while (waiting.length);
    if (!trial.backAt) showBack(view.basket.writes);
    judge();
  } finally {
    clearInterval(clock);
    trial.isRunning = false;
    byId("kill").ariaDisabled = "false";
  }
}

async function sendMark(index) {
  const basket = await write("mark");
  trial.told += 1;
  byId("dots").children[index].className = trial.isDown ? "later" : "told";
  if (trial.isDown && !trial.backAt) showBack(basket.writes - 1); // this one is counted too
  if (trial.told === trial.killAt) trial.killing = kill();
}

async function kill() {
  try {
    await client.action("kill_server");
  } catch (error) {
    if (error.code !== "connection_lost") throw error;
  }
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

function judge() {
  const isGood = trial.after === trial.before && view.basket.writes === acknowledged;
  byId("dots").ariaLabel = `${MARKS} writes, all acknowledged`;
  const count = `${acknowledged} acknowledged, ${view.basket.writes} in the store`;
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

// -- Keeping up with other tabs, other windows, and the server

let isNews = false;

tabs.onmessage = ({ data }) => {
  if (data.session !== view?.session) return;
  if (data.writes > began) acknowledged += 1;
  isNews = true;
  wake();
};

// On a phone, what leads to the basket is of no use beside it.
new IntersectionObserver(([basket]) => byId("peek").classList.toggle("idle", basket.isIntersecting)).observe(byId("basket"));

let wake = () => undefined;
document.onvisibilitychange = () => wake();

async function look() {
  try {
    await refresh();
    if (view.name !== null) await renderPlaces();
    await renderHere();
  } catch (error) {
    if (error.code !== "connection_lost") fail(sentence(error));
  }
}

let looking = Promise.resolve();
let isAlone = false;

/** Do it while this page asks for nothing else: signing in and out makes the cookie worthless under way. */
async function alone(task) {
  isAlone = true;
  try {
    await looking;
    return await answered(task());
  } finally {
    isAlone = false;
  }
}

async function keepUp() {
  for (;;) {
    isNews = false;
    if (!document.hidden && !isAlone) {
      looking = look();
      await looking;
    }
    await new Promise((resolve) => {
      wake = resolve;
      setTimeout(resolve, isNews ? 0 : 1_000);
    });
  }
}

keepUp();
