// Programs in workers that share a store, for tests of advisory locks: who waits, who gets what, and what becomes of the locks
// of those that end. Runs in Node and on a page; gives what a test compares, as JSON carries it.
//
// Nothing here waits for a time: a call that has to wait is told by the store's count of waiters.
const LOCKS = 268 >> 2, WAITING = 272 >> 2, LOCK_GUARD = 256 >> 2, CLIENTS = 4096 >> 2, CLIENT_WORDS = 32, CLIENTS_MAX = 64;
const LOCK_EX = 2, LOCK_SH = 1, LOCK_NB = 4;
// In Emscripten's C library.
const WORDS = { '-6': 'EAGAIN', '-8': 'EBADF', '-16': 'EDEADLK', '-27': 'EINTR' };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const word = (result) => WORDS[result] ?? result;

/** A program in a worker: {call(NAME, …), terminate}; `sabfs`: its settings. */
export async function startWorker(makeWorker, program, sabfs) {
  const worker = makeWorker(), calls = new Map();
  let next = 0;
  const receive = ({ call, result, error }) => {
    const { resolve, reject } = calls.get(call);
    calls.delete(call);
    if (error === undefined) resolve(word(result));
    else reject(new Error(error));
  };
  const send = (message) => new Promise((resolve, reject) => {
    calls.set(next, { resolve, reject });
    worker.postMessage({ ...message, call: next++ });
  });
  const failed = (error) => {
    for (const { reject } of calls.values()) reject(new Error(`the worker fails: ${error?.message ?? error}`));
  };
  if (worker.on) worker.on('message', receive).on('error', failed);
  else [worker.onmessage, worker.onerror] = [({ data }) => receive(data), failed];
  await send({ program, sabfs });
  return {
    call: (name, ...given) => send({ name: `call_${name}`, arguments: given }),
    terminate: () => worker.terminate(),
  };
}

/**
 * makeWorker: makes a worker of lock_worker.mjs. module: the program, started with the store and mounted as `volume`. Gives what
 * came of each step, by its name.
 */
export async function lockAndEnd({ makeWorker, module, volume, program, access }) {
  const words = new Int32Array(volume.store.buffer ?? volume.store);
  const living = new Set();
  const start = async () => {
    const worker = await startWorker(makeWorker, program, { store: volume.store, access });
    living.add(worker);
    return worker;
  };
  const end = async (worker) => {
    living.delete(worker);
    await worker.terminate();
  };
  // Resolves when so many requests sleep.
  const waiting = async (count) => {
    while (Atomics.load(words, WAITING) !== count) await sleep(1);
  };
  const clients = () => {
    let count = 0;
    for (let slot = 0; slot < CLIENTS_MAX; slot++) count += Atomics.load(words, CLIENTS + slot * CLIENT_WORDS) & 3 ? 1 : 0;
    return count;
  };
  // A call of this thread's own program.
  const call = (name, ...given) => word(module.ccall(`call_${name}`, 'number', given.map((value) => typeof value), given));
  const found = {};
  try {
    await run();
  } finally {
    for (const worker of living) await worker.terminate();
  }
  return found;

  async function run() {
    const [a, b, c] = [await start(), await start(), await start()];
    const [fa, fb, fc] = [await a.call('open', '/opfs/one'), await b.call('open', '/opfs/one'), await c.call('open', '/opfs/one')];
    const whole = [0, 0];
    found['A locks'] = await a.call('set', fa, 'try', 'write', 10, 10);
    found['B may not'] = await b.call('set', fb, 'try', 'read', 19, 1);
    found['it sees whose the lock is'] = (await b.call('get', fb, ...whole)) > 42;
    found['beside it B may'] = await b.call('set', fb, 'try', 'write', 20, 5);
    found['an open file of C may not'] = await c.call('set', fc, 'ofd try', 'write', 0, 11);
    // Released by closing another descriptor, as POSIX has it.
    const request = b.call('set', fb, 'wait', 'write', 10, 10);
    await waiting(1);
    await a.call('close', await a.call('open', '/opfs/one'));
    found['B has it when A closes some descriptor'] = await request;

    // A deadlock of two programs, found by who closes the ring.
    const [ga, gb] = [await a.call('open', '/opfs/two'), await b.call('open', '/opfs/two')];
    found['A locks another file'] = await a.call('set', ga, 'try', 'write', ...whole);
    const ring = b.call('set', gb, 'wait', 'write', ...whole);
    await waiting(1);
    found['A would wait for itself'] = await a.call('set', fa, 'wait', 'write', 10, 1);
    found['A gives way'] = await a.call('set', ga, 'try', 'unlock', ...whole);
    found['B has it'] = await ring;

    // B is terminated with locks of every kind, for which others wait; one of them is terminated, too.
    found['B has a lock of the open file'] = await b.call('set', fb, 'ofd try', 'write', 100, 10);
    found['and the whole file'] = await b.call('flock', fb, LOCK_EX);
    const d = await start(), fd = await d.call('open', '/opfs/one');
    const requests = [
      a.call('set', fa, 'wait', 'write', 10, 10), c.call('set', fc, 'ofd wait', 'write', 100, 10),
    ];
    d.call('flock', fd, LOCK_EX).catch(() => {});
    await waiting(3);
    const e = await start(), fe = await e.call('open', '/opfs/one');
    requests.push(e.call('flock', fe, LOCK_SH));
    await waiting(4);
    await end(d);
    await waiting(3);
    const own = call('open', '/opfs/one');
    found['the whole file is B\'s'] = call('flock', own, LOCK_SH | LOCK_NB);
    const since = performance.now();
    await end(b);
    found['all have them when B is dead'] = await Promise.all(requests);
    found.inheritedMs = performance.now() - since;
    found['B\'s other lock is gone, too'] = await c.call('set', await c.call('open', '/opfs/two'), 'try', 'write', ...whole);

    found['another program is told'] = call('flock', own, LOCK_EX | LOCK_NB);
    if (typeof document === 'object') {
      // A page's main thread does not wait for ever.
      found['a page waits so long and no longer'] = call('flock', own, LOCK_EX);
      found['for ranges, too'] = call('set', own, 'wait', 'write', 10, 10);
    }
    await a.call('close', fa);
    await e.call('close', fe);
    found['whole again'] = call('flock', own, LOCK_EX);
    call('close', own);
    for (const worker of [...living]) await end(worker);
    while (clients() > 1 || Atomics.load(words, LOCKS) > 0) await sleep(5);
    found.left = { locks: words[LOCKS], waiting: words[WAITING], guard: words[LOCK_GUARD] };
  }
}

/** What lockAndEnd() has to find, but for `inheritedMs`. */
export const EXPECTED = {
  'A locks': 0,
  'B may not': 'EAGAIN',
  'it sees whose the lock is': true,
  'beside it B may': 0,
  'an open file of C may not': 'EAGAIN',
  'B has it when A closes some descriptor': 0,
  'A locks another file': 0,
  'A would wait for itself': 'EDEADLK',
  'A gives way': 0,
  'B has it': 0,
  'B has a lock of the open file': 0,
  'and the whole file': 0,
  'the whole file is B\'s': 'EAGAIN',
  'all have them when B is dead': [0, 0, 0],
  'B\'s other lock is gone, too': 0,
  'another program is told': 'EAGAIN',
  'whole again': 0,
  left: { locks: 0, waiting: 0, guard: 0 },
};
