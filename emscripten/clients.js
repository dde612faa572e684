// This program as one of the clients of its store, and what it does about those that have died.
addToLibrary({
  // The same functions as in the keeper's worker.
  $SABFSWatch: () => {
    {{{ sabfs:include emscripten/watch.js }}}
    return SabfsWatch;
  },

  $SABFSClients__deps: [
    '$SABFS', '$SABFSWatch', '$SABFSKeeper', '$SABFSErrors', '$SABFSMount', 'sabfs_client', 'sabfs_bury',
  ],
  $SABFSClients: {
    // By what others hear of this program's death.
    sign: null,
    // This program's number when it is host.
    program: 0,
    // The worker that hears of others' deaths, a promise that it runs, and what is called when it has given away what it had.
    watcher: null,
    watching: null,
    given: null,
    left: false,
    // The slot of this program when it has aborted.
    dying: 0,

    // The program is about to start: it has a sign of life before it can be a client.
    come() {
      var watch = SABFSWatch(), sign = SABFSClients.sign = watch.sign(), [kind, token] = sign.words;
      // With locks that of its own tells that the program lives. Several programs of one thread have the same sign.
      SABFSClients.program = kind && (kind & 3) != watch.THREAD ? token : crypto.getRandomValues(new Int32Array(1))[0] | 1;
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
        var slot = (name - 1) % 64 + 1, serial = Math.floor((name - 1) / 64);
        if (name && !tells) watch.bury(SABFS.i32, slot, serial);
        SABFSClients.dying = slot;
        release();
        SABFSClients.resign();
      });
    },

    // Another program goes on with the volume, if this one had it, as soon as there is one.
    resign() {
      SABFSMount.attached = null;
      if (!SABFSKeeper.hosts()) SABFSClients.unwatch();
      else if (!SABFSKeeper.heirs()) setTimeout(SABFSClients.resign, 500).unref?.();
      else if (SABFSKeeper.running) SABFSKeeper.leave().catch((error) => err(error.message));
      else SABFSClients.unwatch();
    },

    // The program has left the store, and does not come back.
    leave() {
      SABFSClients.left = true;
      SABFSClients.sign?.release();
    },

    // This program watches no more. What its watcher has is given away or closed first, which this resolves after, with what
    // went wrong, an errno. `given`: the program itself has given the volume away, and its watcher sees to it that somebody takes it.
    async unwatch(given) {
      var watcher = SABFSClients.watcher, isMemory = SABFS.i32 && Atomics.load(SABFS.i32, SABFS.DURABILITY) == SABFS.MEMORY;
      // Of a volume in memory nothing has to be written.
      if (isMemory) SABFSKeeper.abdicate();
      if (!watcher) return 0;
      SABFSClients.watcher = SABFSClients.watching = null;
      var left = {};
      if (!isMemory && !SABFSKeeper.running) {
        watcher.ref?.();
        left = await new Promise((resolve) => {
          SABFSClients.given = resolve;
          watcher.postMessage({'leave': true, 'given': given});
        });
        watcher.unref?.();
      }
      // Otherwise it ends when there is nobody left who needs it.
      if (!left['stays']) watcher.terminate();
      return left['errno'] ?? 0;
    },

    // What a client that died owned is recovered. Of no use when this program is attached no more.
    bury(slot, serial) {
      if (!ABORT && !SABFSClients.left) _sabfs_bury(slot + serial * 64);
    },

    // The store is shared with other programs: from now on somebody watches over them, and can go on with the volume when it is
    // his turn. Resolves when he is there.
    share(options) {
      SABFSClients.watching ??= SABFSClients.watch(options);
      return SABFSClients.watching;
    },

    watch(options) {
      var doing = 'watch over the programs that share this store', given = options.keeper;
      if (typeof given == 'object' && given.postMessage) {
        err(SABFSErrors.make('EOPNOTSUPP', doing, 'the keeper was given as a Worker: give its address').message);
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        try {
          var watcher = SABFSKeeper.makeWorker(options, doing, 'sabfs-watcher');
          var receive = (data) => {
            var message = data?.['sabfs'] ?? {}, {'died': died, 'left': left, 'failed': why} = message;
            if (message['watching']) {
              resolve();
              // From now on it keeps no process alive.
              watcher.unref?.();
            }
            if (died) SABFSClients.bury(...died);
            if (message['warning']) SABFSKeeper.warned(message['volume'], message['warning']);
            if (why) err(`SABFS: ${why}: what changes from now on is in memory only`);
            if (!left) return;
            SABFSClients.given?.(left);
            // Perhaps it had stayed.
            if (!left['stays']) watcher.terminate();
          };
          // In Node an error that nobody listens to ends the process.
          var failed = (error) => {
            err(SABFSErrors.make('EIO', doing, `the worker fails (${error?.message ?? 'it is not loaded'}): when one of them ` +
              'ends, the others may wait for it for 20 seconds, and nobody goes on with its volume').message);
            if (SABFSClients.watcher == watcher) SABFSClients.watcher = null;
            resolve();
            SABFSClients.given?.({});
          };
          if (watcher.on) {
            watcher.on('message', receive);
            watcher.on('error', failed);
          } else {
            watcher.onmessage = (event) => receive(event.data);
            watcher.onerror = failed;
          }
          watcher.postMessage({
            'watch': SABFS.store,
            'own': SABFSClients.sign.words,
            'program': SABFSClients.program,
            // A browser's worker knows its own script.
            'script': given ? String(given) : ENVIRONMENT_IS_NODE ? SABFSKeeper.source() : undefined,
            'inline': !given,
            ...SABFSKeeper.modules(),
          });
          SABFSClients.watcher = watcher;
          SABFSKeeper.listen();
        } catch (error) {
          err(error.message);
          resolve();
        }
      });
    },
  },

  sabfs_js_sign__deps: ['$SABFSClients'],
  sabfs_js_sign__proxy: 'sync',
  sabfs_js_sign: (at) => {
    HEAP32.set(SABFSClients.sign ? SABFSClients.sign.words : [0, 0], at >>> 2);
  },
});
