// Waiting for advisory locks (src/ffi/locks.rs).
addToLibrary({
  $SABFSLocks: {
    // Whether it was said already that a lock was not had.
    said: false,
  },

  sabfs_js_may_sleep: () => {
#if ENVIRONMENT_MAY_BE_WEB
    if (ENVIRONMENT_IS_WEB && !ENVIRONMENT_IS_WORKER) return 0;
#endif
    return 1;
  },

  sabfs_js_lock_refused__deps: ['$SABFSLocks', '$SABFSErrors'],
  sabfs_js_lock_refused: () => {
    if (SABFSLocks.said) return;
    SABFSLocks.said = true;
    err(SABFSErrors.make('EAGAIN', 'wait longer for a lock', 'a page\'s main thread waits 2 seconds at most: ' +
      'lock from a thread (-sPROXY_TO_PTHREAD) or from a program in a worker').message);
  },
});
