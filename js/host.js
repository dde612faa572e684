const IS_NODE = typeof process == 'object' && !!process.versions?.node && process.type != 'renderer';

// Whether this thread may sleep: a page's main thread and a service worker may not.
const CAN_BLOCK = (() => {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
})();

// How long a call on a thread that must not sleep may spin.
const SPIN_MS = 2;

let compiled = null;
const pageModule = () => {
  compiled ??= WebAssembly.compile(Uint8Array.from(atob({{{ sabfs:base64 page.wasm }}}), (c) => c.charCodeAt(0)));
  return compiled;
};

// One store, as the library for Emscripten programs has it: its own sources, with the few things around them that Emscripten
// gives a program. Every store has a keeper, a watcher and a sign of life of its own, so each gets a copy of its own.
function makeHost(given) {
  var ENVIRONMENT_IS_NODE = IS_NODE, ENVIRONMENT_IS_WORKER = !IS_NODE && !!globalThis.WorkerGlobalScope;
  var ENVIRONMENT_IS_WEB = !IS_NODE && !!globalThis.window, ABORT = false;
  var Module = {'sabfs': given};
  var wasmMemory = new WebAssembly.Memory({initial: 32});
  var HEAPU8, HEAP32, HEAPU32, HEAPF64;
  var err = (text) => console.error(text);
  // SABFSClients.come() puts its own before it.
  var abort = () => { ABORT = true; };

  {{{ sabfs:library emscripten/libsabfs.js }}}
  SABFSErrors.SABFSError = SABFSError;

  function refresh() {
    HEAPU8 = new Uint8Array(wasmMemory.buffer);
    HEAP32 = new Int32Array(wasmMemory.buffer);
    HEAPU32 = new Uint32Array(wasmMemory.buffer);
    HEAPF64 = new Float64Array(wasmMemory.buffer);
  }
  refresh();

  // The module's exports, and why they may be used no more.
  var x = null, failure = null;
  // This client's name, as long as there is one to bury.
  var name = 0;
  // Until when a call may spin.
  var deadline = 0;
  // What the module was told last.
  var patient = false;

  // A page's main thread must not sleep: it spins until its time is up.
  function spin(at, expected, timeout) {
    at >>>= 2;
    if (Atomics.load(SABFS.i32, at) != expected) return 1;
    const end = Math.min(deadline, performance.now() + (timeout >>> 0));
    while (performance.now() < end) {
      if (Atomics.load(SABFS.i32, at) != expected) return 0;
    }
    return 2;
  }

  async function load() {
    SABFS.bindMain();
    if (!SABFS.store) {
      const doing = 'make a store';
      throw SABFS.failure?.code ? SABFS.failure : SABFS.failure
        ? SABFSErrors.make('ENOMEM', doing, `no memory of this size (${SABFS.failure.message}): set a smaller capacity`)
        : SABFSErrors.make('EOPNOTSUPP', doing, `it needs a SharedArrayBuffer: ${SABFSOwn.headers}`);
    }
    if (!CAN_BLOCK) _sabfs_store_wait32 = spin;
    const text = (start, count) => new TextDecoder().decode(HEAPU8.slice(start, start + count));
    const env = {
      'memory': wasmMemory,
      'sabfs_host_date': () => Date.now(),
      'sabfs_host_time': () => performance.now(),
      'sabfs_host_random': (start, count) => { crypto.getRandomValues(new Uint8Array(wasmMemory.buffer, start, count)); },
      'sabfs_host_store_size': () => SABFS.u8.length,
      'sabfs_host_sign': (at) => { new Int32Array(wasmMemory.buffer, at, 2).set(SABFSClients.sign?.words ?? [0, 0]); },
      'sabfs_host_message': (start, count) => {
        refresh();
        failure = text(start, count);
      },
      'sabfs_store_load32': _sabfs_store_load32,
      'sabfs_store_store32': _sabfs_store_store32,
      'sabfs_store_cas32': _sabfs_store_cas32,
      'sabfs_store_add32': _sabfs_store_add32,
      'sabfs_store_or32': _sabfs_store_or32,
      'sabfs_store_and32': _sabfs_store_and32,
      'sabfs_store_copy_out': _sabfs_store_copy_out,
      'sabfs_store_copy_in': _sabfs_store_copy_in,
      'sabfs_store_zero': _sabfs_store_zero,
      'sabfs_store_wait32': _sabfs_store_wait32,
      'sabfs_store_notify': _sabfs_store_notify,
    };
    // The JavaScript ways copy to and from the program's memory, which may have grown.
    for (const way of ['copy_out', 'copy_in']) {
      const copy = env[`sabfs_store_${way}`];
      if (SABFS.access == 'two-memory') break;
      env[`sabfs_store_${way}`] = (to, from, count) => {
        if (!HEAPU8.length) refresh();
        copy(to, from, count);
      };
    }
    x = (await WebAssembly.instantiate(await pageModule(), {env})).exports;
    x.sabfs_page_start();
  }

  // A module that has failed is used no more.
  const failed = () => SABFSErrors.make('EIO', 'use the volume', `the module has failed: ${failure}`);
  function alive() {
    if (failure !== null) throw failed();
  }

  // What a native call threw, as others are to see it. A module that fails leaves others waiting for what it had, unless it says
  // that it is dead.
  function mourned(error) {
    if (!(error instanceof WebAssembly.RuntimeError)) return error;
    failure ??= error.message;
    SABFSClients.die();
    return failed();
  }

  // Runs native calls.
  function guarded(call) {
    alive();
    try {
      return call();
    } catch (error) {
      throw mourned(error);
    } finally {
      if (!HEAPU8.length) refresh();
    }
  }

  // How patient the calls that follow are: as the thread allows, or not at all.
  function now() {
    if (CAN_BLOCK && patient) return;
    if (!CAN_BLOCK) deadline = performance.now() + SPIN_MS;
    x.sabfs_page_patience(CAN_BLOCK ? -1 : SPIN_MS, -1);
    patient = true;
  }
  function never(again) {
    deadline = 0;
    patient = false;
    x.sabfs_page_patience(0, again);
  }

  // Resolves when a word of the store does not hold this value any more, or after a while.
  async function sleep(word, value, ms, idle = false) {
    let timer;
    // A promise of waitAsync keeps no process of Node's alive.
    const late = new Promise((resolve) => { timer = setTimeout(resolve, Atomics.waitAsync ? ms : Math.min(ms, 10)); });
    if (idle) timer.unref?.();
    const waiting = Atomics.waitAsync?.(SABFS.i32, word >>> 2, value | 0, ms);
    if (!waiting || waiting.async) await (waiting ? Promise.race([waiting.value, late]) : late);
    clearTimeout(timer);
  }

  // Waits for what a refused call has to wait for.
  async function until(refusal) {
    let last = performance.now();
    for (;;) {
      const time = performance.now(), status = guarded(() => x.sabfs_page_refusal_poll(refusal, time - last));
      last = time;
      if (status == 0) return;
      if (status < 0) throw new Refused(-status);
      const at = x.sabfs_page_numbers() >> 3;
      // Wake-ups may be lost, and the one who is waited for may have died.
      await sleep(HEAPF64[at], HEAPF64[at + 1], 50);
    }
  }

  // Does what call() does, again and again until it is not refused for the moment. What is done once it was asked for, such as
  // a sync, is not done again.
  async function patiently(call, once = false) {
    let refusal = -1;
    try {
      for (;;) {
        const status = guarded(() => {
          never(refusal);
          return call();
        });
        if (status != -EAGAIN) return status;
        refusal = x.sabfs_page_refusal(refusal);
        const done = once && x.sabfs_page_refusal_is_keepers(refusal);
        await until(refusal);
        if (done) return 0;
      }
    } finally {
      if (refusal >= 0 && failure === null) x.sabfs_page_refusal_drop(refusal);
    }
  }

  // What mounting calls.
  function _sabfs_attach() {
    const status = guarded(() => x.sabfs_attach());
    name = x.sabfs_client();
    return status;
  }
  function _sabfs_format(limit) {
    const status = guarded(() => x.sabfs_format(limit));
    name = x.sabfs_client();
    return status;
  }
  async function _sabfs_detach() {
    try {
      if (failure === null) await patiently(() => x.sabfs_detach());
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // It was too long: whoever leaves in this way counts as dead, and others see to what it leaves.
      now();
      guarded(() => x.sabfs_detach());
    }
    name = 0;
    SABFSClients.leave();
  }
  function _sabfs_bury(dead) {
    patiently(() => x.sabfs_bury(dead)).catch((error) => err(error.message));
  }
  const _sabfs_client = () => name;
  const _sabfs_volume_current = () => x.sabfs_volume_current();
  const _sabfs_sync_begin = () => guarded(() => x.sabfs_sync_begin());
  const _sabfs_sync_state = (change) => guarded(() => x.sabfs_sync_state(change));
  const _sabfs_stats = (at) => guarded(() => x.sabfs_stats(at));
  const _sabfs_metrics_numbers = (at) => guarded(() => x.sabfs_metrics_numbers(at));
  // Numbers are all that mounting puts on a stack here.
  const stackSave = () => 0, stackRestore = () => {}, stackAlloc = (size) => guarded(() => (x.sabfs_page_input(size + 8) + 7) & -8);

  return {
    load, alive, mourned, guarded, now, never, sleep, until, patiently,
    get x() { return x; },
    get u8() { return HEAPU8.length ? HEAPU8 : (refresh(), HEAPU8); },
    get f64() { return HEAPF64.length ? HEAPF64 : (refresh(), HEAPF64); },
    get words() { return SABFS.i32; },
    // The number by which events name their client.
    get slot() { return (name - 1) % 64 + 1; },
    make: SABFSErrors.make,
    check: SABFSOptions.check,
    // Whether a volume is in the store, or somebody is about to put one there.
    isUsed: () => Atomics.load(SABFS.i32, SABFS.STATE) == SABFS.READY || Atomics.load(SABFS.i32, SABFS.CLAIM) != 0,
    devices: () => SABFSDevices(),
    mount: () => SABFSMount.mount({...given, 'path': null}),
    leave: () => SABFSClients.leave(),
  };
}
