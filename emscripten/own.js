// A program that has the store in its own memory is its own keeper: it opens the volume's files when it mounts,
// commits inside of fsync() and on a timer. For programs without threads only, as the files belong to one thread. On a
// page's main thread, which has no such files, they belong to a worker (remote.js).
addToLibrary({
  $SABFSOwn__deps: ['$SABFS', '$SABFSOptions', '$SABFSDevices', '$SABFSRemote', 'sabfs_open_own', 'sabfs_own_tick',
    'sabfs_sync_begin'],
  $SABFSOwn: {
    // The capacity unless told otherwise: the program's memory has to hold it.
    CAPACITY: 64 << 20,
    // How often it is looked for what is to be committed and flushed.
    TICK_MS: 1000,
    device: null,
    // The device is a worker's.
    remote: false,
    release: null,
    imports: null,
    timer: null,
    listening: false,
    // Why the file system in Rust could not do what it was asked for.
    message: '',

    // Why nothing can be persisted here, or an empty string.
    unsupported(options) {
#if PTHREADS
      return SABFS.hasShared()
        ? 'with the access "own" a program with threads cannot persist anything: leave `access` out'
        : 'it needs a SharedArrayBuffer: ' + SABFSOwn.headers + ', or set durability: "memory"';
#elif ASYNCIFY
      return '';
#else
      if (!SABFSOwn.onPage() || options.durability != 'strict') return '';
      return 'fsync() cannot wait for the device on the main thread of a page without a SharedArrayBuffer: ' +
        SABFSOwn.headers + ', or run the program in a worker, or link it with -sJSPI or -sASYNCIFY, or set ' +
        'durability: "relaxed" or "memory"';
#endif
    },
    headers: 'serve the page with Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp',

    // Whether this is a page's main thread, which cannot have the files itself.
    onPage: () => !ENVIRONMENT_IS_NODE && !ENVIRONMENT_IS_WORKER,

    async open(options) {
      var devices = SABFSDevices();
      SABFSOwn.remote = SABFSOwn.onPage();
      SABFSOwn.release = ENVIRONMENT_IS_NODE ? () => {}
        : await SABFSKeeper.lock(options, `open the volume "${options.volume}"`);
      try {
        SABFSOwn.device = SABFSOwn.remote ? await SABFSRemote.open(options, () => SABFSOwn.release())
          : await devices.open(options.volume, options.folder, options.readOnly);
      } catch (error) {
        SABFSOwn.release();
        if (error['name'] == 'SABFSError') throw error;
        throw SABFSErrors.refused(SABFSKeeper.codeOf({'code': error.code, 'errno': devices.errno(error)}),
          `open the volume "${options.volume}"`, error.message);
      }
      SABFSOwn.imports = devices.imports(() => SABFSOwn.device,
        // A copy of the view each time: the memory may have grown.
        (start, count) => HEAPU8.subarray(start >>> 0, (start >>> 0) + (count >>> 0)));
#if ENVIRONMENT_MAY_BE_NODE
      if (ENVIRONMENT_IS_NODE) process.on('exit', () => SABFSOwn.close());
#endif
    },

    // The second step of a mount.
    load(options) {
      SABFSOwn.message = '';
      var status = _sabfs_open_own(options.capacity || SABFSOwn.CAPACITY,
        SABFSOptions.DURABILITIES.indexOf(options.durability), options.readOnly ? 1 : 0, SABFSOwn.remote ? 1 : 0);
      if (status) {
        SABFSOwn.close();
        return status;
      }
      SABFSRemote.loaded();
      SABFSOwn.timer = setInterval(SABFSOwn.tick, SABFSOwn.TICK_MS);
      // In Node it must not keep the process alive.
      SABFSOwn.timer.unref?.();
      SABFSOwn.listen(options);
      return 0;
    },

    tick() {
      if (ABORT) return clearInterval(SABFSOwn.timer);
      // What the keeper does while nothing has changed takes no volume's durability back.
      SABFSRemote.upkeep = SABFSMount.stats()['durable'];
      _sabfs_own_tick();
      SABFSRemote.upkeep = false;
    },

    // Resolves when what a remote device has in hand is done.
    async settle(doing) {
      var result = await SABFSRemote.settle();
      if (!result) return;
      var {code, message} = SABFSRemote.failure ?? {code: 'EIO', message: 'its device has failed'};
      throw SABFSErrors.refused(code, doing, message);
    },

    // The end of the page is a last chance to commit; it may also be put aside and shown again.
    listen(options) {
#if ENVIRONMENT_MAY_BE_WEB
      if (SABFSOwn.listening || !SABFSOwn.onPage()) return;
      SABFSOwn.listening = true;
      var commit = () => {
        if (SABFSOwn.device && !ABORT) _sabfs_sync_begin();
      };
      document.addEventListener('visibilitychange', () => {
        if (document.visibilityState == 'hidden') commit();
      });
      addEventListener('pagehide', () => {
        if (!SABFSOwn.device) return;
        commit();
        // Others may open the volume from now on.
        SABFSRemote.pause();
        SABFSOwn.release();
      });
      addEventListener('pageshow', (event) => {
        if (!SABFSOwn.device || !event.persisted) return;
        SABFSKeeper.lock(options, 'go on').then((release) => { SABFSOwn.release = release; }, () => {})
          // Whether the files can be had, and are as they were, is the worker's to say.
          .then(() => SABFSRemote.resume());
      });
#endif
    },

    // Resolves when the files are closed.
    async close() {
      var device = SABFSOwn.device;
      if (!device) return;
      SABFSOwn.device = null;
      clearInterval(SABFSOwn.timer);
      // At once where the files are this thread's: the process may be about to end.
      var closed = device.close();
      if (SABFSOwn.remote) await closed;
      SABFSOwn.release();
    },
  },

  // The same functions as in the keeper's worker.
  $SABFSDevices: () => {
    {{{ sabfs:include emscripten/devices.js }}}
    return SabfsDevices;
  },

  sabfs_js_message__deps: ['$SABFSOwn', '$UTF8ArrayToString'],
  sabfs_js_message: (start, count) => { SABFSOwn.message = UTF8ArrayToString(HEAPU8.slice(start, start + count), 0, count); },

  sabfs_device_size__deps: ['$SABFSOwn'],
  sabfs_device_size: (file) => SABFSOwn.imports.size(file),
  sabfs_device_read__deps: ['$SABFSOwn'],
  sabfs_device_read: (file, at, start, count) => SABFSOwn.imports.read(file, at, start, count),
  sabfs_device_write__deps: ['$SABFSOwn'],
  sabfs_device_write: (file, at, start, count) => SABFSOwn.imports.write(file, at, start, count),
  sabfs_device_set_size__deps: ['$SABFSOwn'],
  sabfs_device_set_size: (file, size) => SABFSOwn.imports.setSize(file, size),
  sabfs_device_flush__deps: ['$SABFSOwn'],
  sabfs_device_flush: (file) => SABFSOwn.imports.flush(file),
});
