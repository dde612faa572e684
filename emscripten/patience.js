// A page's main thread, which may not sleep: how long it waits for others, and what is said when that was in vain
// (src/ffi/patience.rs).
addToLibrary({
  $SABFSPatience__deps: ['$SABFS', '$SABFSErrors', 'sabfs_commit_state'],
  $SABFSPatience: {
    // Anything longer is taken for a page that hangs.
    LIMIT_MS: 2000,
    // What was said already; a program may go on trying.
    said: [],

    // Resolves as sabfs_commit_state() answers in the end.
    async committed(change, durable) {
      var word = durable ? SABFS.DURABLE : SABFS.WRITTEN;
      for (;;) {
        var seen = Atomics.load(SABFS.i32, word), status = _sabfs_commit_state(change, durable);
        if (status <= 0) return status;
        // Not for long, as nobody wakes this when the keeper ends.
        var sleep = Atomics['waitAsync']?.(SABFS.i32, word, seen, 50)['value'];
        await (sleep ?? new Promise((resolve) => setTimeout(resolve, 2)));
      }
    },
  },

  sabfs_store_patience__deps: ['$SABFSPatience'],
  sabfs_store_patience: () => {
#if ENVIRONMENT_MAY_BE_WEB
    if (ENVIRONMENT_IS_WEB && !ENVIRONMENT_IS_WORKER) return SABFSPatience.LIMIT_MS;
#endif
    return 0;
  },

  sabfs_js_in_vain__deps: ['$SABFSPatience', '$SABFSErrors'],
  sabfs_js_in_vain: (what) => {
    if (SABFSPatience.said[what]) return;
    SABFSPatience.said[what] = true;
    var why = (whom) => `${whom} for 2 seconds, and the main thread of a page waits no longer: `;
    err((what == 0
      ? SABFSErrors.make('EAGAIN', 'change the volume now', why('another thread or program has kept the store locked') +
        'try again, or let the program run in a worker (-sPROXY_TO_PTHREAD)')
      : SABFSErrors.make('EIO', 'make changes durable', why('the keeper has not done it') +
        'call `await Module.sabfs.sync()` instead of fsync(), link with -sJSPI or -sASYNCIFY, or let the program run ' +
        'in a worker (-sPROXY_TO_PTHREAD)')).message);
  },

  sabfs_js_can_suspend: () => {
#if ASYNCIFY && ENVIRONMENT_MAY_BE_WEB
    if (ENVIRONMENT_IS_WEB && !ENVIRONMENT_IS_WORKER) return 1;
#endif
    return 0;
  },

  sabfs_js_await_commit__sig: 'iii',
  sabfs_js_await_commit__deps: ['$SABFSPatience'],
#if ASYNCIFY
  sabfs_js_await_commit__async: 'auto',
#endif
  sabfs_js_await_commit: (change, durable) => {
#if ASYNCIFY
    return SABFSPatience.committed(change, durable);
#else
    // Only called where sabfs_js_can_suspend() says so.
    return -5;
#endif
  },
});
