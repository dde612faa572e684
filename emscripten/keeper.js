// The keeper's worker: opens a volume's files, then runs the keeper's module until it is told to stop. It is
// started with one message, which emscripten/start.js sends, and asked by words of the store from then on.
//
// A program that shares no memory is served by SabfsRelay instead, which has no module and no store. Other workers of this
// script watch over the clients of a store that is shared, one for each program (watch.js, heir.js).
//
// The script is devices.js, relay.js, watch.js and heir.js followed by this file; it is embedded in dist/libsabfs.js and lies as keeper.js beside it,
// for pages whose policy forbids workers made of embedded text.
(() => {
  const port = SabfsDevices.isNode ? process.getBuiltinModule('node:worker_threads').parentPort : globalThis;
  const post = (message, transfer) => port.postMessage({sabfs: message}, transfer);

  // Words of the store (src/store/runtime.rs), as indices of an Int32Array, and values of some.
  const STATE = 16 >> 2, FAILURE = 28 >> 2, DURABLE = 200 >> 2, WRITTEN = 204 >> 2, KEEPER = 208 >> 2, STOP = 216 >> 2;
  const READY = 1, UP = 1, PAUSE = 2, FAILED = 3;

  const compile = (bytes, imports) => new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports;

  // The store's accesses. The keeper's own memory is a second memory to the helper, as a program's is.
  function storeImports(store, memory, helper) {
    const isMemory = Object.prototype.toString.call(store) == '[object WebAssembly.Memory]';
    if (isMemory) {
      try {
        return compile(helper, {e: {heap: memory, store}});
      } catch {
        // An engine with one memory per module.
      }
    }
    const buffer = isMemory ? store.buffer : store;
    const bytes = new Uint8Array(buffer), words = new Int32Array(buffer);
    const own = (start, count) => new Uint8Array(memory.buffer, start >>> 0, count >>> 0);
    const part = (start, count) => bytes.subarray(start >>> 0, (start >>> 0) + (count >>> 0));
    return {
      load32: (at) => Atomics.load(words, at >>> 2),
      store32: (at, value) => { Atomics.store(words, at >>> 2, value); },
      cas32: (at, expected, value) => Atomics.compareExchange(words, at >>> 2, expected, value),
      add32: (at, value) => Atomics.add(words, at >>> 2, value),
      or32: (at, value) => Atomics.or(words, at >>> 2, value),
      and32: (at, value) => Atomics.and(words, at >>> 2, value),
      copy_out: (to, from, count) => own(to, count).set(part(from, count)),
      copy_in: (to, from, count) => part(to, count).set(own(from, count)),
      zero: (at, count) => { part(at, count).fill(0); },
      wait32: (at, expected, timeout) =>
        ({'ok': 0, 'not-equal': 1, 'timed-out': 2})[Atomics.wait(words, at >>> 2, expected, timeout >>> 0)],
      notify: (at, count) => Atomics.notify(words, at >>> 2, count >>> 0),
    };
  }

  // Held until this worker ends: whoever gets the lock knows that it does no more. Where it can it gives the lock back
  // itself, as a worker that has closed itself lives on while its maker is asleep.
  let release = () => {};
  const holdLock = (name) => new Promise((resolve) => {
    navigator['locks'].request(name, () => {
      resolve();
      return new Promise((end) => { release = end; });
    // A page without an origin of its own has no locks.
    }).catch(resolve);
  });

  // In Node its end tells the other side that this thread has ended.
  let held = null;
  // The volume has been opened.
  let serving = false;

  // Resolves when the worker at the other end of the port has ended.
  const endOf = (port) => new Promise((resolve) => port.on('close', resolve).ref());

  // Resolves with whether the keeper has stopped in order.
  async function serve(request) {
    const {store, alive, link, before} = request;
    if (alive) {
      await holdLock(alive);
      post({alive: true});
    }
    if (link) {
      held = link;
      held.unref();
    }
    if (!before) return run(request);
    const words = new Int32Array(store.buffer ?? store);
    post({waiting: true});
    await endOf(before);
    // Unless it was stopped, or had nothing to serve yet.
    const died = Atomics.load(words, STATE) == READY && Atomics.load(words, KEEPER) == UP && Atomics.load(words, STOP) != PAUSE;
    if (!died) return false;
    try {
      return await run(request);
    } finally {
      // Nobody else may be awake to tell those who wait for it.
      if (!serving) {
        Atomics.store(words, FAILURE, 5);
        Atomics.store(words, KEEPER, FAILED);
        for (const word of [KEEPER, DURABLE, WRITTEN]) Atomics.notify(words, word);
      }
    }
  }

  async function run({store, limit, volume, folder, durability, readOnly, keeper, helper, follows}) {
    SabfsHeir.note(new Int32Array(store.buffer ?? store), volume, folder);
    const device = await SabfsDevices.open(volume, folder, readOnly, follows);
    let message = '', refused = null;
    try {
      const memory = new WebAssembly.Memory({initial: 64});
      const own = (start, count) => new Uint8Array(memory.buffer, start, count);
      const imports = {
        memory,
        sabfs_host_date: () => Date.now(),
        sabfs_host_time: () => performance.now(),
        sabfs_host_random: (start, count) => { crypto.getRandomValues(own(start, count)); },
        sabfs_host_progress: (phase, done, total) => post({progress: [phase, done, total]}),
        sabfs_host_message: (start, count) => {
          message = new TextDecoder().decode(own(start, count).slice());
          if (running) post({warning: message});
        },
      };
      let running = false;
      for (const [name, access] of Object.entries(storeImports(store, memory, helper))) {
        imports[`sabfs_store_${name}`] = access;
      }
      const {size, read, write, setSize, flush} = SabfsDevices.imports(() => device, own);
      Object.assign(imports, {
        sabfs_device_size: size,
        sabfs_device_read: read,
        sabfs_device_write: write,
        sabfs_device_set_size: setSize,
        sabfs_device_flush: flush,
      });
      const {exports} = await WebAssembly.instantiate(await WebAssembly.compile(keeper), {env: imports});
      // A volume's capacity may be less than the store has room for.
      const bytes = Math.min(store.byteLength ?? store.buffer.byteLength, limit);
      const status = follows ? exports.sabfs_keeper_resume(bytes, readOnly ? 1 : 0)
        : exports.sabfs_keeper_open(bytes, durability, readOnly ? 1 : 0);
      if (status) {
        refused = {errno: -status, message};
      } else {
        running = serving = true;
        post({ready: true});
        // Sleeps in the store; the page's thread sets a word and wakes it when it has to stop.
        while (exports.sabfs_keeper_turn(1000) == 0);
      }
    } catch (error) {
      throw message ? SabfsDevices.fail('EIO', message) : error;
    } finally {
      device.close();
      // The end of a Node process waits for this: it would end this thread before the lock file is gone.
      const words = new Int32Array(store.buffer ?? store);
      if (serving && Atomics.compareExchange(words, STOP, 1, 0) == 1) Atomics.notify(words, STOP);
    }
    // Only now, as whoever reads it may open the volume again at once.
    if (refused) post({error: refused});
    return !refused;
  }

  // With the last message of its start the relay names who receives orders from then on.
  function postReady(message, transfer, receive) {
    if (receive && SabfsDevices.isNode) port.on('message', receive);
    else if (receive) port.onmessage = ({data}) => receive(data);
    post(message, transfer);
  }

  function receive(request) {
    if (request.watch) {
      return SabfsHeir.serve(request, post, (receive) => {
        if (SabfsDevices.isNode) port.on('message', receive);
        else port.onmessage = ({data}) => receive(data);
      });
    }
    const served = request.relay ? SabfsRelay.serve(request, postReady) : serve(request);
    let inOrder = false;
    served
      .then((result) => { inOrder = result; })
      .catch((error) => post({error: {
        errno: SabfsDevices.errno(error), code: error.code, message: String(error.message || error),
      }}))
      .finally(() => {
        post({stopped: true, inOrder});
        release();
        // A browser's worker goes on for ever otherwise.
        if (SabfsDevices.isNode) port.close();
        else close();
      });
  }

  if (SabfsDevices.isNode) port.once('message', receive);
  else port.onmessage = ({data}) => receive(data);
  // Whoever started this can tell a worker that is slow from one that was never run.
  post({started: true});
})();
