// A crowd of clients in one page, each with a session of its own. What one of them finds wrong is told in `troubles`.
/* global sojourn */

function size(value) {
  return Array.isArray(value) ? value.length : (value ?? 0);
}

class Member {
  constructor(place) {
    const kept = new Map();
    this.place = place;
    this.own = undefined;
    this.count = undefined;
    this.client = new sojourn.SojournClient({
      issued: true,
      storage: {
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => kept.set(key, value),
        removeItem: (key) => kept.delete(key),
      },
      retry: { attempts: 30, longestMs: 2_000 },
    });
    this.client.subscribe("own", {}, (state) => this.see("own", state));
    // What all can see, each tenth looks at: a page that draws 200 views of everything would measure itself.
    this.looksAtAll = place % 10 === 0;
    if (this.looksAtAll) this.client.subscribe("count", {}, (state) => this.see("count", state));
  }

  see(name, state) {
    if (state.status === "error" && state.error.code !== "unavailable") crowd.troubles.push(`${this.place}: ${state.error}`);
    if (state.status !== "value") return;
    const [before, now] = [size(this[name]), size(state.value)];
    if (now < before) crowd.troubles.push(`${this.place}: ${name} went back from ${before} to ${now}`);
    this[name] = state.value;
  }

  /** Set marks one after the other; each must be seen when its promise is settled. */
  async work(marks) {
    for (let number = 1; number <= marks; number++) {
      await this.client.mutation("mark", { number });
      crowd.acknowledged++;
      if (!this.own?.includes(number)) crowd.troubles.push(`${this.place}: mark ${number} is not seen`);
    }
  }
}

const crowd = {
  members: [],
  troubles: [],
  acknowledged: 0,
  begin(size) {
    this.members = Array.from({ length: size }, (_, place) => new Member(place));
  },
  work(marks) {
    this.working = Promise.all(this.members.map((member) => member.work(marks)));
  },
  /** How many have a live connection now. */
  get open() {
    return this.members.filter(({ client }) => client.connection.state === "open").length;
  },
  /** How many see all marks of their own, and of all. */
  upToDate(marks) {
    const wanted = Array.from({ length: marks }, (_, place) => place + 1).join();
    const all = marks * this.members.length;
    return this.members.filter(({ own, count, looksAtAll }) => own?.join() === wanted && (!looksAtAll || count === all))
      .length;
  },
};
