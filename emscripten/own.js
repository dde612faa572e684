// A program that has the store in its own memory is its own keeper: it opens the volume's files when it mounts and
// commits inside of fsync(). For programs without threads only, as the files belong to one thread.
addToLibrary({
  $SABFSOwn__deps: ['$SABFS', '$SABFSOptions', '$SABFSDevices', 'sabfs_open_own'],
  $SABFSOwn: {
    // The capacity unless told otherwise: the program's memory has to hold it.
    CAPACITY: 64 << 20,
    device: null,
    release: null,
    imports: null,
    // Why the file system in Rust could not do what it was asked for.
    message: '',

    // Why nothing can be persisted here, or an empty string.
    unsupported() {
#if PTHREADS
      return SABFS.hasShared()
        ? 'with the access "own" a program with threads cannot persist anything: leave `access` out'
        : SABFSOwn.isolate;
#else
      if (ENVIRONMENT_IS_NODE || ENVIRONMENT_IS_WORKER) return '';
      return SABFSOwn.isolate + ', or run the program in a worker';
#endif
    },
    isolate: 'it needs a SharedArrayBuffer: serve the page with Cross-Origin-Opener-Policy: same-origin and ' +
      'Cross-Origin-Embedder-Policy: require-corp, or set durability: "memory"',

    async open(options) {
      var devices = SABFSDevices();
      SABFSOwn.release = ENVIRONMENT_IS_NODE ? () => {}
        : await SABFSKeeper.lock(options, `open the volume "${options.volume}"`);
      try {
        SABFSOwn.device = await devices.open(options.volume, options.folder);
      } catch (error) {
        SABFSOwn.release();
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
        SABFSOptions.DURABILITIES.indexOf(options.durability), options.readOnly ? 1 : 0);
      if (status) SABFSOwn.close();
      return status;
    },

    close() {
      if (!SABFSOwn.device) return;
      SABFSOwn.device.close();
      SABFSOwn.device = null;
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
