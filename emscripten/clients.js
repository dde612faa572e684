// This program as one of the clients of its store, and what it does about those that have died.
addToLibrary({
  // The same functions as in the keeper's worker.
  $SABFSWatch: () => {
    {{{ sabfs:include emscripten/watch.js }}}
    return SabfsWatch;
  },

  $SABFSClients__deps: ['$SABFS', '$SABFSWatch', '$SABFSKeeper', '$SABFSErrors', '$SABFSMount', 'sabfs_client', 'sabfs_bury'],
  $SABFSClients: {
    // By what others hear of this program's death.
    sign: null,
    // The worker that hears of others' deaths.
    watcher: null,
    left: false,

    // The program is about to start: it has a sign of life before it can be a client.
    come() {
      SABFSClients.sign = SABFSWatch().sign();
      // A program that has aborted would own what it had for ever, as its worker or page lives on.
      var stop = abort;
      abort = (what) => {
        SABFSClients.die();
        return stop(what);
      };
#if PTHREADS && expectToReceiveOnModule('onAbort')
      // Threads tell of theirs in this way.
      var next = Module['onAbort'];
      Module['onAbort'] = (what) => {
        SABFSClients.die();
        next?.(what);
      };
#endif
    },

    // Nothing of this program is to touch the store any more.
    die() {
      if (SABFSClients.left || !SABFS.i32) return;
      SABFSClients.left = true;
      var name = SABFSMount.attached ? _sabfs_client() : 0, ended = [];
#if PTHREADS
      var threads = [...Object.values(PThread.pthreads), ...PThread.unusedWorkers];
      PThread.terminateAllThreads();
      // Only Node tells when; elsewhere each thread has a lock of its own.
      if (ENVIRONMENT_IS_NODE) ended = threads.map((thread) => thread.terminate());
#endif
      Promise.all(ended).then(() => {
        var watch = SABFSWatch(), {words, release} = SABFSClients.sign;
        // With locks it is theirs to tell when all threads have ended.
        var tells = [watch.LOCK, watch.ASKED].includes(words[0]);
        if (name && !tells) watch.bury(SABFS.i32, (name - 1) % 64 + 1, Math.floor((name - 1) / 64));
        release();
      });
    },

    // The program has left the store, and does not come back.
    leave() {
      SABFSClients.left = true;
      SABFSClients.sign?.release();
    },

    unwatch() {
      SABFSClients.watcher?.terminate();
      SABFSClients.watcher = null;
    },

    // What a client that died owned is recovered. Of no use when this program is attached no more.
    bury(slot, serial) {
      if (!ABORT && !SABFSClients.left) _sabfs_bury(slot + serial * 64);
    },

    // The volume is this program's, and others may come: from now on somebody watches over them.
    share(options) {
      if (SABFSClients.watcher) return;
      var doing = 'watch over the programs that share this store';
      if (typeof options.keeper == 'object' && options.keeper.postMessage) {
        err(SABFSErrors.make('EOPNOTSUPP', doing, 'the keeper was given as a Worker: give its address').message);
        return;
      }
      try {
        var watcher = SABFSKeeper.makeWorker(options, doing, 'sabfs-watcher');
        var receive = (data) => {
          var died = data?.['sabfs']?.['died'];
          if (died) SABFSClients.bury(...died);
        };
        // In Node an error that nobody listens to ends the process.
        var failed = (error) => {
          err(SABFSErrors.make('EIO', doing, `the worker fails (${error?.message ?? 'it is not loaded'}): when one of them ` +
            'ends, the others may wait for it for 20 seconds').message);
        };
        if (watcher.on) {
          watcher.on('message', receive);
          watcher.on('error', failed);
        } else {
          watcher.onmessage = (event) => receive(event.data);
          watcher.onerror = failed;
        }
        watcher.postMessage({'watch': SABFS.store, 'own': SABFSClients.sign.words});
        // It keeps no process alive.
        watcher.unref?.();
        SABFSClients.watcher = watcher;
      } catch (error) {
        err(error.message);
      }
    },
  },

  sabfs_js_sign__deps: ['$SABFSClients'],
  sabfs_js_sign__proxy: 'sync',
  sabfs_js_sign: (at) => {
    HEAP32.set(SABFSClients.sign ? SABFSClients.sign.words : [0, 0], at >>> 2);
  },
});
