// The store, and how this program's threads reach it.
//
// Every sabfs_store_* below is correct JavaScript over the store's SharedArrayBuffer. Before the program is
// instantiated, on each thread, they are replaced by exports of a small helper module, as far as the engine
// allows, so that the program's calls go from wasm to wasm.
addToLibrary({
  $SABFS__deps: [
    '$SABFSMount', '$SABFSClients', '$SABFSWatch',
    // bind() assigns the variables of these, so they have to be there.
    'sabfs_store_load32', 'sabfs_store_store32', 'sabfs_store_cas32', 'sabfs_store_add32', 'sabfs_store_or32',
    'sabfs_store_and32', 'sabfs_store_copy_out', 'sabfs_store_copy_in', 'sabfs_store_zero', 'sabfs_store_wait32',
    'sabfs_store_notify',
#if PTHREADS
    '$PThread',
#endif
  ],
  // addAtModule puts code where the program's memory is there and the program is not. A plain postset would come
  // too early for the one, preRun too late for the other.
  $SABFS__postset: () => {
    addAtModule('SABFS.bindMain();');
    return 'SABFS.hook();';
  },
  $SABFS: {
    // Words of the runtime region (src/store/runtime.rs) that JavaScript touches, as indices of an Int32Array.
    STATE: 16 >> 2,
    FAILURE: 28 >> 2,
    CAPACITY: 12 >> 2,
    CLAIM: 32 >> 2,
    CHANGE: 128 >> 2,
    BELL: 192 >> 2,
    WANTED: 196 >> 2,
    DURABLE: 200 >> 2,
    WRITTEN: 204 >> 2,
    COMMITS: 220 >> 2,
    FLUSH_WANTED: 224 >> 2,
    KEEPER: 208 >> 2,
    BEAT: 212 >> 2,
    STOP: 216 >> 2,
    DURABILITY: 20 >> 2,
    READY: 1,
    FAILED: 2,
    CLOSED: 3,
    STOP_PAUSE: 2,
    KEEPER_UP: 1,
    KEEPER_FAILED: 3,
    MEMORY: 2,

    // 'two-memory', 'one-memory', 'javascript' or 'own': how this program reaches the store.
    access: '',
    // What was given or made: a WebAssembly.Memory, a SharedArrayBuffer, or null.
    store: null,
    u8: null,
    i32: null,
    // Why there is no store outside of this program.
    failure: null,

    use(store) {
      SABFS.store = store;
      var buffer = SABFS.isMemory(store) ? store.buffer : store;
      SABFS.u8 = new Uint8Array(buffer);
      SABFS.i32 = new Int32Array(buffer);
    },

    // By their names, as an object of another realm is no instance of this realm's class.
    isMemory: (value) => Object.prototype.toString.call(value) == '[object WebAssembly.Memory]',
    isShared: (value) => Object.prototype.toString.call(value) == '[object SharedArrayBuffer]',

    isStore: (value) => SABFS.isMemory(value) ? SABFS.isShared(value.buffer) : SABFS.isShared(value),

    // A page that is not isolated may have the constructor, but cannot send a shared memory to a worker.
    hasShared: () => typeof SharedArrayBuffer != 'undefined' && globalThis.crossOriginIsolated !== false,

    // Replaces the imports by the exports of a helper. Where that fails the JavaScript stays.
    bind(heap, access) {
      var modules = {
#if SHARED_MEMORY
        'two-memory': {{{ sabfs:base64 helpers/helper-mt.wasm }}},
#elif IMPORTED_MEMORY
        'two-memory': {{{ sabfs:base64 helpers/helper-st.wasm }}},
#endif
        'one-memory': {{{ sabfs:base64 helpers/helper1.wasm }}},
      };
      SABFS.access = 'javascript';
      // A buffer cannot be imported by a wasm module, only a memory can.
      if (!SABFS.isMemory(SABFS.store)) return;
      for (var way of ['two-memory', 'one-memory']) {
        if (access ? way != access : !modules[way]) continue;
        try {
          var code = Uint8Array.from(atob(modules[way]), (c) => c.charCodeAt(0));
          // Compiling on a page's main thread is allowed for a module as small as this.
          var x = new WebAssembly.Instance(new WebAssembly.Module(code), {
            'e': {'heap': heap, 'store': SABFS.store},
          }).exports;
        } catch {
          continue;
        }
        SABFS.access = way;
        // The import object is made of these variables, whatever the imports' names were minified to.
        _sabfs_store_load32 = x['load32'];
        _sabfs_store_store32 = x['store32'];
        _sabfs_store_cas32 = x['cas32'];
        _sabfs_store_add32 = x['add32'];
        _sabfs_store_or32 = x['or32'];
        _sabfs_store_and32 = x['and32'];
        _sabfs_store_zero = x['zero'];
        _sabfs_store_notify = x['notify'];
        if (x['copy_out']) {
          _sabfs_store_copy_out = x['copy_out'];
          _sabfs_store_copy_in = x['copy_in'];
        }
#if ENVIRONMENT_MAY_BE_WEB
        // It traps on a page's main thread; the JavaScript knows what to do there.
        if (ENVIRONMENT_IS_WEB && !ENVIRONMENT_IS_WORKER) return;
#endif
        _sabfs_store_wait32 = x['wait32'];
        return;
      }
    },

    bindMain() {
#if PTHREADS
      if (ENVIRONMENT_IS_PTHREAD) return;
#endif
      var options = Module['sabfs'] || {}, access = options['access'], store = options['store'];
      SABFS.access = 'own';
      if (access == 'own' && !store) return;
      try {
        // What is wrong with the options is said when the volume is mounted; here defaults have to do.
        if (!SABFS.isStore(store)) {
          if (!SABFS.hasShared()) return;
          var pages = SABFSOptions.storePages(SABFSOptions.capacityOr(options['capacity']));
          store = new WebAssembly.Memory({'initial': pages, 'maximum': pages, 'shared': true});
        }
        SABFS.use(store);
        SABFSClients.come();
      } catch (error) {
        SABFS.failure = error;
        SABFS.store = null;
        return;
      }
      var heap = null;
#if IMPORTED_MEMORY
      heap = wasmMemory;
#endif
      if (access == 'javascript') SABFS.access = access;
      else SABFS.bind(heap, access);
    },

    // Sees to it that each thread has the store before it has the program.
    hook() {
#if PTHREADS
      if (ENVIRONMENT_IS_PTHREAD) {
        // The thread's own handler is set already. Ours goes first and steps aside after one message.
        var next = self.onmessage;
        self.onmessage = (event) => {
          var given = event.data && event.data['sabfs'];
          if (!given) return next(event);
          self.onmessage = next;
          SABFS.access = given['access'];
          if (!given['store']) return;
          SABFS.use(given['store']);
          SABFSWatch().belong(given['sign']);
          if (given['access'] != 'javascript') SABFS.bind(given['heap'], given['access']);
        };
      } else {
        var load = PThread.loadWasmModuleToWorker;
        PThread.loadWasmModuleToWorker = (worker) => {
          // Messages keep their order: this one arrives before the program does.
          worker.postMessage({'sabfs': {
            'store': SABFS.store, 'heap': wasmMemory, 'access': SABFS.access, 'sign': SABFSClients.sign?.words,
          }});
          return load(worker);
        };
      }
#endif
    },
  },

  sabfs_store_load32__deps: ['$SABFS'],
  sabfs_store_load32: (at) => Atomics.load(SABFS.i32, at >>> 2),
  sabfs_store_store32__deps: ['$SABFS'],
  sabfs_store_store32: (at, value) => { Atomics.store(SABFS.i32, at >>> 2, value); },
  sabfs_store_cas32__deps: ['$SABFS'],
  sabfs_store_cas32: (at, expected, value) => Atomics.compareExchange(SABFS.i32, at >>> 2, expected, value),
  sabfs_store_add32__deps: ['$SABFS'],
  sabfs_store_add32: (at, value) => Atomics.add(SABFS.i32, at >>> 2, value),
  sabfs_store_or32__deps: ['$SABFS'],
  sabfs_store_or32: (at, value) => Atomics.or(SABFS.i32, at >>> 2, value),
  sabfs_store_and32__deps: ['$SABFS'],
  sabfs_store_and32: (at, value) => Atomics.and(SABFS.i32, at >>> 2, value),
  sabfs_store_copy_out__deps: ['$SABFS'],
  sabfs_store_copy_out: (to, from, count) => {
    from >>>= 0;
    HEAPU8.set(SABFS.u8.subarray(from, from + (count >>> 0)), to >>> 0);
  },
  sabfs_store_copy_in__deps: ['$SABFS'],
  sabfs_store_copy_in: (to, from, count) => {
    from >>>= 0;
    SABFS.u8.set(HEAPU8.subarray(from, from + (count >>> 0)), to >>> 0);
  },
  sabfs_store_zero__deps: ['$SABFS'],
  sabfs_store_zero: (at, count) => {
    at >>>= 0;
    SABFS.u8.fill(0, at, at + (count >>> 0));
  },
#if PTHREADS
  sabfs_store_wait32__deps: ['$SABFS', 'emscripten_main_thread_process_queued_calls'],
#else
  sabfs_store_wait32__deps: ['$SABFS'],
#endif
  sabfs_store_wait32: (at, expected, timeout) => {
    at >>>= 2;
#if ENVIRONMENT_MAY_BE_WEB
    if (ENVIRONMENT_IS_WEB && !ENVIRONMENT_IS_WORKER) {
      // A page's main thread must not sleep: it looks again and again, and does meanwhile what threads wait for that it
      // does, as in Emscripten's own locks.
      if (Atomics.load(SABFS.i32, at) != expected) return 1;
      var end = performance.now() + (timeout >>> 0);
      do {
#if PTHREADS
        _emscripten_main_thread_process_queued_calls();
#endif
        if (Atomics.load(SABFS.i32, at) != expected) return 0;
      } while (performance.now() < end);
      return 2;
    }
#endif
    return {'ok': 0, 'not-equal': 1, 'timed-out': 2}[Atomics.wait(SABFS.i32, at, expected, timeout >>> 0)];
  },
  sabfs_store_notify__deps: ['$SABFS'],
  sabfs_store_notify: (at, count) => Atomics.notify(SABFS.i32, at >>> 2, count >>> 0),

  // Size of the store outside of this program, 0 when there is none.
  sabfs_js_store_size__deps: ['$SABFS'],
  sabfs_js_store_size: () => SABFS.store ? SABFS.u8.length : 0,
});
