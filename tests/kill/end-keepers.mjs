// For a program's `prepare`, in Node and in a page: ends the keeper's worker again and again while the program goes on.
// Module.keeperDeaths = {count, seed}. The line `keepers ended COUNT` comes when the program has acknowledged steps after
// the last one.
import { randomNumbers } from './random.mjs';

const EARLIEST_MS = 10;
const LATEST_MS = 120;
// Now and then the next keeper dies while it takes over, but not so often in a row that nobody follows it (5 times). One
// that ends before it was heard of is missed after 10 s.
const AT_ONCE = 0.25;
const AT_ONCE_LIMIT = 2;
const STEPS_BETWEEN = 20;
const STEPS_AFTER = 100;

export default async (Module) => {
  const { count, seed } = Module.keeperDeaths;
  const random = randomNumbers(seed);
  const isNode = typeof process === 'object' && !!process.versions?.node;
  if (isNode) (await import('./print-whole.mjs')).default(Module);
  const print = isNode ? Module.print : (text) => console.log(text);

  let ended = 0, atOnce = 0, steps = 0, wanted = 0, keeper = null, due = false;
  const home = isNode ? process.getBuiltinModule('node:worker_threads') : globalThis;
  home.Worker = class extends home.Worker {
    constructor(script, options) {
      super(script, options);
      if (options?.name !== 'sabfs-keeper') return;
      keeper = this;
      // The first keeper is let alone until the program is ready.
      if (due) plan();
    }
  };

  function plan() {
    due = true;
    if (ended === count) return;
    const soon = ended > 0 && atOnce < AT_ONCE_LIMIT && random() < AT_ONCE;
    atOnce = soon ? atOnce + 1 : 0;
    // A keeper that is not meant to die at once has made something durable before.
    wanted = soon ? 0 : 1 + Math.floor(random() * STEPS_BETWEEN);
    const mine = keeper;
    setTimeout(() => strike(mine), soon ? random() * EARLIEST_MS : EARLIEST_MS + random() * (LATEST_MS - EARLIEST_MS));
  }

  function strike(mine) {
    if (steps < wanted) return void setTimeout(() => strike(mine), 5);
    steps = 0;
    ended++;
    mine.terminate();
  }

  Module.print = (text) => {
    print(text);
    if (text === 'ready') plan();
    if (!text.startsWith('ack ')) return;
    steps++;
    if (ended === count && steps === STEPS_AFTER) print(`keepers ended ${ended}`);
  };
};
