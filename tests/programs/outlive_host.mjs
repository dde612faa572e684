// Programs on one store that end in every way, the one that runs the keeper as well, and what the others have to show then. Runs in
// Node and on a page. The store is this thread's, and no program is.
const STATE = 16 >> 2, KEEPER = 208 >> 2, STOP = 216 >> 2, PROGRAM = 520 >> 2, CLIENTS = 4096 >> 2, CLIENT_WORDS = 32, CLIENTS_MAX = 64;
const READY = 1, CLOSED = 3;
const FILES = 16, WORDS = 1500;
// Who makes no step for so long is stuck.
const LIMIT_MS = 30_000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A store, and programs that run in workers. */
export class Programs {
  /** makeWorker: makes a worker of outlive_worker.mjs. sabfs: options of each program, beside the store. */
  constructor({ makeWorker, program, sabfs, storeBytes, places = 4 }) {
    const pages = storeBytes / 65536;
    this.store = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    this.words = new Int32Array(this.store.buffer);
    Object.assign(this, { makeWorker, program, sabfs });
    this.steps = new Int32Array(new SharedArrayBuffer(8 * places));
    // What they said, what each has acknowledged by its number, how long each step took of those that the others' ends made long.
    this.lines = [];
    this.acknowledged = [];
    this.running = new Map();
    // All that ever ran: the worker of a program that has ended in order goes on.
    this.workers = [];
  }

  /** Starts a program at a place; resolves when it has mounted the volume, and has begun to work unless it is idle. */
  async start(place, { idle = false, ...sabfs } = {}) {
    const worker = this.makeWorker(), number = this.acknowledged.length, self = { worker, place, number };
    this.acknowledged.push(0);
    this.workers.push(worker);
    this.steps.fill(0, 2 * place, 2 * place + 2);
    this.running.set(place, self);
    const events = {};
    for (const name of ['mounted', 'ready', 'ended', 'done']) {
      self[name] = new Promise((resolve, reject) => { events[name] = { resolve, reject }; });
      self[name].catch(() => {});
    }
    const receive = (message) => {
      const { line, ended } = message;
      self.stage = message.stage ?? self.stage;
      if (line === 'ready') events.ready.resolve();
      // That it was told to is no news.
      else if (line !== undefined && !(self.aborts && line.includes('Aborted()'))) this.lines.push(`${number}: ${line}`);
      for (const name of ['mounted', 'ended', 'done']) {
        if (message[name] !== undefined) events[name].resolve(message[name]);
      }
      if (ended !== undefined) {
        for (const name of ['mounted', 'ready']) events[name].reject(new Error(`program ${number} ended with ${ended}: ${this.lines}`));
      }
    };
    const failed = (error) => {
      for (const event of Object.values(events)) event.reject(new Error(`program ${number}: ${error?.message ?? error}`));
    };
    if (worker.on) worker.on('message', receive).on('error', failed);
    else [worker.onmessage, worker.onerror] = [({ data }) => receive(data), failed];
    const { program, store, steps } = this;
    worker.postMessage({ program, place, number, steps, idle, sabfs: { store, ...this.sabfs, ...sabfs } });
    let late;
    const limit = new Promise((_, reject) => {
      late = setTimeout(() => reject(new Error(`program ${number} does not begin (${self.stage}): ${this.said()}`)), LIMIT_MS);
    });
    try {
      await Promise.race([limit, idle ? self.mounted : self.ready]);
    } finally {
      clearTimeout(late);
    }
    return self;
  }

  /** What is known of the store, for messages. */
  said() {
    const words = [STATE, KEEPER, STOP, PROGRAM].map((word) => this.words[word]);
    return `state, keeper, stop, host ${words}; clients ${this.clients()}; ${this.lines.join('; ')}`;
  }

  count(place) {
    return Atomics.load(this.steps, 2 * place);
  }

  order(place, order) {
    Atomics.store(this.steps, 2 * place + 1, order);
  }

  /** Takes down what the program at a place has acknowledged, when it can do no more. */
  note(place) {
    const { number } = this.running.get(place);
    this.acknowledged[number] = this.count(place);
    this.running.delete(place);
  }

  /** Ends a program's worker, wherever it is. */
  async terminate(place) {
    const { worker } = this.running.get(place);
    await worker.terminate();
    // A browser lets it go on for a while; when the others hear of its end it is over.
    if (this.running.size > 1) await this.until(() => this.living() < this.running.size, 'nobody hears of a death');
    else if (!worker.on) await sleep(2500);
    this.note(place);
  }

  /** The program aborts: its worker goes on. */
  async abort(place) {
    const self = this.running.get(place);
    self.aborts = true;
    this.order(place, 2);
    await self.ended;
    this.note(place);
    return self.worker;
  }

  /** The program ends in order, and so does its worker if it is told to. */
  async exit(place) {
    this.order(place, 1);
    const self = this.running.get(place), code = await self.ended;
    this.note(place);
    if (code !== 0) throw new Error(`program ${self.number} ended with ${code}: ${this.lines}`);
    return self.worker;
  }

  /** Waits until these places have made two steps more: one that they began now. Gives the time of the slowest. */
  async progress(places, doing) {
    const begun = performance.now(), seen = places.map((place) => this.count(place));
    for (const [index, place] of places.entries()) {
      while (this.count(place) - seen[index] < 2) {
        if (performance.now() - begun > LIMIT_MS || this.lines.length) {
          throw new Error(`${doing}: the program at ${place} makes no progress: ${this.said()}`);
        }
        await sleep(1);
      }
    }
    return performance.now() - begun;
  }

  /** Which program has the keeper, as a number that tells one from the other. */
  host() {
    return Atomics.load(this.words, PROGRAM);
  }

  /** Clients in each state: none, claimed, attached, dead. */
  clients() {
    const counts = [0, 0, 0, 0];
    for (let slot = 0; slot < CLIENTS_MAX; slot++) counts[Atomics.load(this.words, CLIENTS + slot * CLIENT_WORDS) & 3]++;
    return counts;
  }

  living() {
    const [, claimed, attached] = this.clients();
    return claimed + attached;
  }

  async until(condition, what) {
    const begun = performance.now();
    while (!condition()) {
      if (performance.now() - begun > LIMIT_MS) {
        throw new Error(`${what}: ${this.said()}`);
      }
      await sleep(2);
    }
  }

  /** The last program has left: the volume is to be closed. */
  closed() {
    return this.until(() => Atomics.load(this.words, STATE) === CLOSED, 'the volume is not closed');
  }

  isReady() {
    return Atomics.load(this.words, STATE) === READY;
  }

  async end() {
    for (const worker of this.workers) await worker.terminate();
  }
}

/** What is wrong with the files in a volume, of programs that have acknowledged so many steps: an empty list if all is there. */
export function judgeFiles(FS, acknowledged) {
  const wrong = [];
  for (const [number, steps] of acknowledged.entries()) {
    for (let file = 0; file < FILES; file++) {
      const begun = (steps + 1) % FILES === file, path = `/opfs/${number}/${file}`;
      const last = steps - ((steps - file) % FILES + FILES) % FILES;
      let words = null;
      try {
        const bytes = FS.readFile(path);
        words = new Int32Array(bytes.slice(0, bytes.length & ~3).buffer);
      } catch {
        // It is not there.
      }
      // The step that was under way may have come as far as it likes.
      if (begun ? words?.some((word) => word !== last && word !== steps + 1) : last < 1 ? words
        : words?.length !== WORDS || words.some((word) => word !== last)) {
        wrong.push(`${path} of ${steps} steps: ${words ? `${words.length} words, ${words[0]} to ${words.at(-1)}, not ${last}` : 'missing'}`);
      }
    }
  }
  return wrong;
}

/** Ends one of `count` programs at a time, `deaths` times, the first one first, and lets another one come. */
export async function endAtRandom(programs, { count, deaths, random }) {
  // The longest time without a step that each death has cost one of the others.
  const waits = [];
  let hosts = 0;
  for (let place = 0; place < count; place++) await programs.start(place);
  for (let death = 0; death < deaths; death++) {
    await sleep(random() * 40);
    const victim = death === 0 ? 0 : Math.floor(random() * count), host = programs.host();
    const others = [...programs.running.keys()].filter((place) => place !== victim);
    let over = false;
    const watched = others.map((place) => longestPause(programs, place, () => over));
    await programs.terminate(victim);
    await programs.progress(others, `after death ${death}`);
    hosts += programs.host() !== host;
    over = true;
    waits.push(Math.max(...await Promise.all(watched)));
    await programs.start(victim);
  }
  waits.sort((a, b) => a - b);
  return { hosts, p99Ms: waits[Math.floor(waits.length * 0.99)], worstMs: waits.at(-1) };
}

async function longestPause(programs, place, isOver) {
  let [steps, since, longest] = [programs.count(place), performance.now(), 0];
  while (!isOver()) {
    await sleep(1);
    const now = performance.now();
    longest = Math.max(longest, now - since);
    if (programs.count(place) === steps) continue;
    [steps, since] = [programs.count(place), now];
  }
  return longest;
}
