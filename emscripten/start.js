// Starting and stopping the keeper: the worker that owns the durable files of one volume.
addToLibrary({
  $SABFSKeeper__deps: [
    '$SABFS', '$SABFSErrors', '$SABFSOptions', '$SABFSStandby', '$SABFSClients', '$SABFSWatch', '$SABFSMount',
  ],
  $SABFSKeeper: {
    // A worker that has not run by then is forbidden or broken.
    START_LIMIT_MS: 20000,
    // A keeper that says nothing for so long while it opens a volume.
    SILENT_LIMIT_MS: 60000,
    // A keeper that follows another one and has not said by then that it lives may have been ended before it could.
    FOLLOW_LIMIT_MS: 10000,
    // How long another page's lock on the volume is waited for: enough for the page that this one replaces.
    LOCK_LIMIT_MS: 1500,
    // A keeper that was told to pause does so within this time, unless it was frozen before it heard of it.
    PAUSE_LIMIT_MS: 3000,

    // How often a keeper may die in a row, with no commit in between, before nobody follows it.
    DEATHS_LIMIT: 5,

    // The keeper that this program runs: {worker, request, release, options, standby}; with `over` its worker has ended,
    // with `following` another one is being started, with `stopping` it is told to stop. `deaths` were since there were `commits`.
    running: null,
    // The page was put aside: resolves with true when the keeper has stopped in order, with false when it died, and
    // with null if it has not stopped.
    paused: null,
    // The promise of the attempt to go on.
    resuming: null,
    // How this thread hears of the keeper's end, in browsers: {lock, gone, stop}.
    ear: null,
    // The promise of the attempt to give the volume away.
    leaving: null,
    // The process's or page's end is listened to.
    listening: false,

    source: () => {{{ sabfs:file emscripten/devices.js }}} + {{{ sabfs:file emscripten/relay.js }}} +
      {{{ sabfs:file emscripten/watch.js }}} + {{{ sabfs:file emscripten/heir.js }}} + {{{ sabfs:file emscripten/keeper.js }}},
    bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),

    async start(options) {
      var doing = `open the volume "${options.volume}"`;
      // No waiting in Node, where the caller may block this thread as soon as it can.
      var release = ENVIRONMENT_IS_NODE ? () => {} : await SABFSKeeper.lock(options, doing);
      var running = {release, options, deaths: 0, commits: 0};
      try {
        running.worker = SABFSKeeper.makeWorker(options, doing);
        running.request = SABFSKeeper.request(options);
        var opened = SABFSKeeper.open(running.worker, options, doing, running.request);
        // The caller may block this thread before the keeper is there. It is not followed while it opens.
        SABFSStandby.renew(running);
        await opened;
      } catch (error) {
        running.worker?.terminate();
        SABFSStandby.drop(running);
        release();
        throw error;
      }
      SABFSKeeper.running = running;
      SABFSKeeper.listen();
    },

    // A lock of the origin's, as the files tell only after a while that somebody else has them.
    async lock(options, doing) {
      if (!navigator['storage']?.['getDirectory']) {
        throw SABFSErrors.make('EOPNOTSUPP', doing, 'this browser has no private file system here, as in a private ' +
          'window or a page without https: set durability: "memory"');
      }
      if (!navigator['locks']) return () => {};
      var name = `sabfs:${options.volume}:keeper`;
      return new Promise((resolve, reject) => {
        navigator['locks'].request(name, {'signal': AbortSignal['timeout'](SABFSKeeper.LOCK_LIMIT_MS)},
          // Held until what is resolved with here is called.
          () => new Promise((release) => resolve(release)),
        ).catch((error) => {
          // A page without an origin of its own has no locks; the files decide then.
          if (error.name != 'TimeoutError' && error.name != 'AbortError') return resolve(() => {});
          reject(SABFSErrors.make('EBUSY', doing, 'it is open elsewhere: close the other tab or program that uses it'));
        });
      });
    },

    makeWorker(options, doing, name = 'sabfs-keeper') {
      var given = options.keeper;
      if (typeof given == 'object' && given.postMessage) return given;
#if ENVIRONMENT_MAY_BE_NODE
      if (ENVIRONMENT_IS_NODE && !process['getBuiltinModule']) {
        throw SABFSErrors.make('EOPNOTSUPP', doing, 'Node ' + process.versions.node + ' is too old: use 20.16 or newer');
      }
#endif
      try {
#if ENVIRONMENT_MAY_BE_NODE
        if (ENVIRONMENT_IS_NODE) {
          var {Worker: NodeWorker} = process['getBuiltinModule']('node:worker_threads');
          return new NodeWorker(given || SABFSKeeper.source(), {'eval': !given, name});
        }
#endif
        var url = given || URL.createObjectURL(new Blob([SABFSKeeper.source()], {'type': 'text/javascript'}));
        return new Worker(url, {name});
      } catch (error) {
        throw SABFSKeeper.blocked(given, doing, error.message);
      }
    },

    blocked: (given, doing, why) => SABFSErrors.make('EACCES', doing, given
      ? `its keeper does not start from ${given} (${why})`
      : `its keeper does not start (${why}). If the page's Content-Security-Policy forbids workers from blob:, ` +
        'allow them (worker-src blob:) or set `keeper` to the address of keeper.js'),

    // What a keeper is made of, beside its script.
    modules: () => ({
      'keeper': SABFSKeeper.bytes({{{ sabfs:base64 keeper.wasm }}}),
      'helper': SABFSKeeper.bytes({{{ sabfs:base64 helpers/helper-st.wasm }}}),
    }),

    // What the keeper is told. It loads the volume into the store.
    request(options) {
      // The end of a thread closes its ports, which whoever has the other one is told. Browsers have locks for that.
      var ports = ENVIRONMENT_IS_NODE && new MessageChannel();
      return {
        'store': SABFS.store,
        'limit': SABFSOptions.storeBytes(options.capacity),
        'volume': options.volume,
        'folder': options.folder,
        'durability': SABFSOptions.DURABILITIES.indexOf(options.durability),
        'readOnly': options.readOnly,
        // The lock that the worker holds while it lives, or its port, and the port for the standby.
        'alive': !ENVIRONMENT_IS_NODE && navigator['locks'] && `sabfs:${options.volume}:${crypto.randomUUID()}`,
        'link': ports && ports.port1,
        'heir': ports && ports.port2,
        ...SABFSKeeper.modules(),
      };
    },

    // A volume's changes do not reach its device.
    warn(volume, code, why) {
      var full = code == 'EDQUOT' || code == 'ENOSPC';
      err(`SABFS: the volume "${volume}": ${why}` + (full ? ': free some space, by deleting files of ' +
        'this volume too; until then its changes are in memory only' : ''));
    },

    // What a keeper says that something went wrong with.
    warned: (volume, warning) => SABFSKeeper.warn(volume, /EDQUOT|ENOSPC/.exec(warning)?.[0], warning),

    // Hands the request to the worker; resolves when it is ready. `also` gets every message.
    open: (worker, options, doing, request, also) => new Promise((resolve, reject) => {
      var timer, stopped = false, ready = false, limit = (time, error) => {
        clearTimeout(timer);
        // Once more, as this thread may have been asleep, and a message may be waiting.
        timer = setTimeout(() => { timer = setTimeout(() => reject(error()), 50); }, time);
        // What only waits keeps no process alive.
        if (request['before']) timer.unref?.();
      };
      var ended = () => Object.assign(SABFSErrors.make('EIO', doing, 'its keeper was ended'), {gone: true});
      // Its lock tells from then on.
      var unheard = request['follows'] && request['alive'];
      var gone = () => {
        if (stopped) return;
        clearTimeout(timer);
        SABFSKeeper.died(worker);
        also?.({'dead': true});
        reject(ended());
      };
      var receive = (data) => {
        var message = data && data['sabfs'];
        if (!message) return;
        var {'progress': progress, 'error': error, 'warning': warning} = message;
        if (message['alive']) unheard = false;
        if (!unheard && !ready) {
          limit(SABFSKeeper.SILENT_LIMIT_MS,
            () => SABFSErrors.make('ETIMEDOUT', doing, 'its keeper says nothing for a minute'));
        }
        if (progress) {
          var [phase, done, total] = progress;
          options.onProgress?.({
            'phase': phase ? 'load' : 'recover', 'doneBytes': done * 4096, 'totalBytes': total * 4096,
          });
        }
        if (warning) SABFSKeeper.warned(options.volume, warning);
        also?.(message);
        // Nothing else tells that a worker was terminated: its lock is free then.
        if (message['alive']) SABFSKeeper.listenFor(request['alive'], gone);
        if (error) {
          clearTimeout(timer);
          SABFSKeeper.died(worker);
          reject(SABFSErrors.refused(SABFSKeeper.codeOf(error), doing, error['message']));
        }
        if (message['ready'] || message['stopped'] || message['waiting']) clearTimeout(timer);
        if (message['ready']) {
          ready = true;
          // From now on the keeper does not keep the process alive.
          worker.unref?.();
          resolve();
        }
        if (message['stopped']) {
          stopped = true;
          reject(ended());
        }
        if (stopped && message['inOrder']) {
          if (SABFSKeeper.running?.worker == worker) SABFSKeeper.running.over = true;
          SABFSKeeper.ended?.(true);
        }
      };
      var fail = (event) => {
        clearTimeout(timer);
        // Without a message the script was not even loaded.
        var why = event?.message;
        SABFSKeeper.died(worker);
        also?.({'dead': true});
        reject(why ? SABFSErrors.make('EIO', doing, `its keeper fails: ${why}`)
          : SABFSKeeper.blocked(options.keeper, doing, 'the worker is not loaded'));
      };
      if (worker.on) {
        worker.on('message', receive);
        worker.on('error', fail);
        worker.on('exit', gone);
      } else {
        worker.onmessage = (event) => receive(event.data);
        worker.onerror = fail;
      }
      var {'heir': heir, ...sent} = request;
      worker.postMessage(sent, [sent['link'], sent['before']].filter((port) => port?.postMessage));
      if (unheard) limit(SABFSKeeper.FOLLOW_LIMIT_MS, ended);
      else limit(SABFSKeeper.START_LIMIT_MS, () => SABFSKeeper.blocked(options.keeper, doing, 'no answer'));
    }),

    codeOf(error) {
      if (error['code'] in SABFSErrors.table()) return error['code'];
      for (var [name, [, number]] of Object.entries(SABFSErrors.table())) {
        if (number == error['errno']) return name;
      }
      return 'EIO';
    },

    // A keeper's worker has ended; unless that was in order another one goes on with what is in the store.
    died(worker) {
      var running = SABFSKeeper.running;
      // The keeper gets another standby when it is followed.
      if (running?.standby?.worker == worker) running.standby = null;
      if (running?.worker != worker || running.over || running.following) return;
      running.over = true;
      if (SABFSKeeper.paused) {
        SABFSKeeper.ended(false);
      } else {
        running.following = SABFSKeeper.follow(running).then(() => { running.following = null; });
      }
    },

    async follow(running) {
      var doing = `go on with the volume "${running.options.volume}", whose keeper has died`;
      for (;;) {
        // It has stopped as it was told, and its lock was heard of before its message.
        if (running.stopping && Atomics.load(SABFS.i32, SABFS.STOP) == 0) return SABFSKeeper.ended(true);
        try {
          var commits = Atomics.load(SABFS.i32, SABFS.COMMITS);
          running.deaths = commits == running.commits ? running.deaths + 1 : 1;
          running.commits = commits;
          // Who waits for a commit has patience with each that follows, not with all of them together.
          Atomics.add(SABFS.i32, SABFS.BEAT, 1);
          if (running.standby) await SABFSStandby.promote(running, doing);
          else await SABFSKeeper.replace(running, doing);
          // Not waited for: this thread has to hear if the new keeper dies.
          if (!running.over) SABFSStandby.renew(running);
          return;
        } catch (error) {
          if (error.gone && running.deaths < SABFSKeeper.DEATHS_LIMIT) continue;
          err(error.message + ': what changes from now on is in memory only');
          SABFSKeeper.failed();
          return SABFSKeeper.ended?.(false);
        }
      }
    },

    // Starts another keeper for the volume in the store.
    async replace(running, doing) {
      var {options} = running;
      if (typeof options.keeper == 'object' && options.keeper.postMessage) {
        throw SABFSErrors.make('EIO', doing, 'a keeper given as a Worker starts once: give its address, or reload the page');
      }
      // In Node this tells when the thread has ended; elsewhere the files can be opened only then.
      await running.worker.terminate();
      running.worker = SABFSKeeper.makeWorker(options, doing);
      running.request = {...SABFSKeeper.request(options), 'follows': true};
      await SABFSKeeper.open(running.worker, options, doing, running.request);
      running.over = false;
    },

    // Nobody serves the volume any more, and nobody may wait for that.
    failed() {
      if (!SABFS.i32 || Atomics.load(SABFS.i32, SABFS.KEEPER) != SABFS.KEEPER_UP) return;
      Atomics.store(SABFS.i32, SABFS.FAILURE, 5);
      Atomics.store(SABFS.i32, SABFS.KEEPER, SABFS.KEEPER_FAILED);
      for (var word of [SABFS.KEEPER, SABFS.DURABLE, SABFS.WRITTEN]) Atomics.notify(SABFS.i32, word);
    },

    ring() {
      Atomics.add(SABFS.i32, SABFS.BELL, 1);
      Atomics.notify(SABFS.i32, SABFS.BELL);
    },

    // Asks the keeper to make everything durable that has changed so far, whatever the durability mode.
    requestCommit() {
      var change = Atomics.load(SABFS.i32, SABFS.CHANGE);
      for (var word of [SABFS.FLUSH_WANTED, SABFS.WANTED]) {
        // Others may want more meanwhile. The counts wrap around.
        for (var old = Atomics.load(SABFS.i32, word); (change - old | 0) > 0;) {
          var seen = Atomics.compareExchange(SABFS.i32, word, old, change);
          if (seen == old) break;
          old = seen;
        }
      }
      SABFSKeeper.ring();
    },

    requestStop() {
      Atomics.store(SABFS.i32, SABFS.STOP, 1);
      SABFSKeeper.ring();
    },

    // Whether another program is attached to the store. Not in a store of its own.
    shared: () => !!SABFS.i32 && SABFSWatch().attached(SABFS.i32, SABFSClients.dying),

    // Whether one of them can go on with the volume.
    heirs: () => SABFSWatch().heirs(SABFS.i32, [0, 0], SABFSClients.dying),

    // The keeper is this program's, or its watcher's.
    hosts: () => !!SABFS.i32 && Atomics.load(SABFS.i32, SABFSWatch().PROGRAM) == SABFSClients.program,

    // This program is host no more.
    abdicate() {
      if (SABFSKeeper.hosts()) SABFSWatch().setHost(SABFS.i32, 0, [0, 0]);
    },

    // The program has left the store. Others who are attached go on with the volume; without any it is closed. Resolves
    // when it is out of this program's hands, or when nobody can take it: then it stays until somebody can, or all have left.
    leave() {
      SABFSKeeper.leaving ??= SABFSKeeper.handOverOrStop().finally(() => { SABFSKeeper.leaving = null; });
      return SABFSKeeper.leaving;
    },

    async handOverOrStop() {
      await SABFSKeeper.resuming;
      await SABFSKeeper.running?.following;
      // It may have come back meanwhile, or be aside.
      if (!SABFSKeeper.running || SABFSMount.attached || SABFSKeeper.paused) return;
      // Of somebody who has ended just now the watcher need not have heard yet.
      if (SABFS.i32) await SABFSWatch().buryGone(SABFS.i32);
      if (!SABFSKeeper.running || SABFSMount.attached || SABFSKeeper.paused) return;
      if (!SABFSKeeper.shared()) {
        SABFSClients.unwatch();
        await SABFSKeeper.stop();
      } else if (SABFSKeeper.heirs()) {
        await SABFSKeeper.handOver();
        await SABFSClients.unwatch(true);
      } else {
        setTimeout(() => SABFSKeeper.leave().catch((error) => err(error.message)), 100).unref?.();
      }
    },

    // The keeper commits and closes the files, and another program goes on with the volume.
    async handOver() {
      var running = SABFSKeeper.running;
      SABFSStandby.drop(running);
      if (!running.over) {
        // However it ends: who follows takes things as they are.
        var timer;
        SABFSKeeper.paused = new Promise((resolve) => {
          SABFSKeeper.ended = resolve;
          timer = setTimeout(resolve, SABFSKeeper.SILENT_LIMIT_MS);
        });
        // Somebody waits for this.
        running.worker.ref?.();
        // This program's own watcher is not to take what is given away.
        SABFSClients.watcher?.postMessage({'leaving': true});
        Atomics.store(SABFS.i32, SABFS.STOP, SABFS.STOP_PAUSE);
        Atomics.store(SABFS.i32, SABFSWatch().PROGRAM, 0);
        SABFSKeeper.ring();
        await SABFSKeeper.paused;
        clearTimeout(timer);
      }
      SABFSKeeper.running = SABFSKeeper.paused = null;
      await running.worker.terminate();
      SABFSWatch().setHost(SABFS.i32, 0, [0, 0]);
      running.release();
    },

    // Stops the keeper; resolves when the files are closed and the volume can be opened again.
    async stop() {
      await SABFSKeeper.resuming;
      var running = SABFSKeeper.running;
      await running?.following;
      if (!SABFSKeeper.running) return;
      SABFSStandby.drop(running);
      running.worker.ref?.();
      // If nobody serves the volume, nobody stops.
      if (!running.over) {
        var ended = new Promise((resolve) => { SABFSKeeper.ended = resolve; });
        running.stopping = true;
        SABFSKeeper.requestStop();
        await ended;
      }
      SABFSKeeper.running = null;
      running.worker.terminate();
      running.release();
      var failed = Atomics.load(SABFS.i32, SABFS.KEEPER) == SABFS.KEEPER_FAILED;
      Atomics.store(SABFS.i32, SABFS.STATE, SABFS.CLOSED);
      SABFSKeeper.abdicate();
      Atomics.store(SABFS.i32, SABFS.CLAIM, 0);
      if (failed) SABFSKeeper.closedBadly(Atomics.load(SABFS.i32, SABFS.FAILURE));
    },

    closedBadly(errno) {
      throw SABFSErrors.make(SABFSKeeper.codeOf({'errno': errno}), 'unmount the volume', 'its last changes could not be written');
    },

    // Calls when the worker that holds this lock has ended.
    listenFor(lock, gone) {
      var stop = new AbortController();
      SABFSKeeper.ear = {lock, gone, stop};
      navigator['locks'].request(lock, {'signal': stop.signal}, gone).catch(() => {});
    },

    // The page goes, perhaps into the back/forward cache: the keeper commits and closes the files, so that others may
    // have them. Until it is followed by another one, it looks slow to those who wait for it.
    pause(comesBack) {
      var running = SABFSKeeper.running, watch = SABFSWatch();
      // A page that is given a lock on its way to the cache is thrown away.
      SABFSKeeper.ear?.stop.abort();
      Atomics.store(SABFS.i32, watch.ASIDE, 1);
      Atomics.store(SABFS.i32, SABFS.STOP, SABFS.STOP_PAUSE);
      // A frame that goes leaves its page behind. With a page its workers and frames go, too.
      if (!comesBack && globalThis.top != globalThis.self && SABFSKeeper.heirs()) Atomics.store(SABFS.i32, watch.PROGRAM, 0);
      SABFSKeeper.ring();
      // Nobody is to wait for a lock of this page.
      Atomics.notify(SABFS.i32, watch.SERIAL);
      // The one who would watch over this program is part of the page.
      SABFSClients.sign?.release();
      if (running) {
        SABFSKeeper.paused = new Promise((resolve) => { SABFSKeeper.ended = resolve; });
        running.release();
      } else {
        SABFSKeeper.paused = true;
        SABFSClients.watcher.postMessage({'pause': true});
      }
    },

    // The page is shown again: another keeper goes on where the last one paused, if nobody had the volume meanwhile.
    async resume() {
      var running = SABFSKeeper.running;
      if (!SABFSKeeper.hosts()) {
        // Others were awake, and have gone on. They have buried this program, which must not touch the store any more.
        SABFSKeeper.running = SABFSKeeper.paused = null;
        return abort('SABFS: other programs have gone on with the volume while this page was aside: it must be reloaded');
      }
      if (!running) {
        SABFSKeeper.paused = null;
        SABFSClients.sign?.hold();
        return SABFSClients.watcher.postMessage({'resume': true});
      }
      var options = running.options, doing = `go on with the volume "${options.volume}"`, ear = SABFSKeeper.ear;
      if (ear) SABFSKeeper.listenFor(ear.lock, ear.gone);
      var late = new Promise((resolve) => setTimeout(resolve, SABFSKeeper.PAUSE_LIMIT_MS, null));
      var left = await Promise.race([SABFSKeeper.paused, late]);
      SABFSKeeper.paused = null;
      try {
        running.release = await SABFSKeeper.lock(options, doing);
        Atomics.store(SABFS.i32, SABFSWatch().ASIDE, 0);
        SABFSClients.sign?.hold();
        // Without an answer its files were never closed.
        if (left === null) Atomics.store(SABFS.i32, SABFS.STOP, 0);
        else await SABFSKeeper.replace(running, doing);
        SABFSStandby.renew(running);
      } catch (error) {
        err(error.message + ': this page must be reloaded, what it has changed since is lost');
        SABFSKeeper.lost(error);
      }
    },

    // The volume is out of this page's hands: every operation gives the error from now on.
    lost(error) {
      SABFSStandby.drop(SABFSKeeper.running);
      SABFSKeeper.running.worker.terminate();
      SABFSKeeper.running.release();
      SABFSKeeper.running = null;
      Atomics.store(SABFS.i32, SABFS.FAILURE, SABFSErrors.toLinux(error));
      Atomics.store(SABFS.i32, SABFS.STATE, SABFS.FAILED);
      Atomics.store(SABFS.i32, SABFS.KEEPER, SABFS.KEEPER_FAILED);
      for (var word of [SABFS.KEEPER, SABFS.DURABLE, SABFS.WRITTEN]) Atomics.notify(SABFS.i32, word);
    },

    // The volume has files, and somebody serves them.
    persisted: () => Atomics.load(SABFS.i32, SABFS.STATE) == SABFS.READY &&
      Atomics.load(SABFS.i32, SABFS.KEEPER) == SABFS.KEEPER_UP,

#if ENVIRONMENT_MAY_BE_NODE
    // In Node a process ends with all its threads, a thread with the workers that it has started.
    atProcessExit() {
      if (!SABFS.i32 || !SABFSKeeper.persisted()) return;
      var watch = SABFSWatch();
      if (!process['getBuiltinModule']('node:worker_threads').isMainThread) {
        if (!SABFSKeeper.running && !SABFSKeeper.hosts()) return;
        // Another thread's program goes on as soon as this one has ended.
        if (watch.heirs(SABFS.i32, SABFSClients.sign?.words)) return;
      }
      SABFSKeeper.requestStop();
      // The worker runs until this handler returns: until it has committed, and then has given the files back.
      var stopped = Atomics.wait(SABFS.i32, SABFS.KEEPER, SABFS.KEEPER_UP, 10000) != 'timed-out';
      if (stopped && !SABFSKeeper.running?.over) Atomics.wait(SABFS.i32, SABFS.STOP, 1, 2000);
    },
#endif

    // The end of the page or the process is a last chance to commit.
    listen() {
      if (SABFSKeeper.listening) return;
      SABFSKeeper.listening = true;
#if ENVIRONMENT_MAY_BE_NODE
      if (ENVIRONMENT_IS_NODE) {
        // One listener for all programs of the thread, as Node warns of many.
        var key = Symbol.for('sabfs.atExit'), all = globalThis[key];
        if (!all) {
          all = globalThis[key] = [];
          process.on('exit', () => all.forEach((leave) => leave()));
        }
        all.push(SABFSKeeper.atProcessExit);
        return;
      }
#endif
#if ENVIRONMENT_MAY_BE_WEB
      if (typeof document != 'undefined') {
        document.addEventListener('visibilitychange', () => {
          if (SABFSKeeper.hosts() && document.visibilityState == 'hidden') SABFSKeeper.requestCommit();
        });
      }
      // Without this Chromium lets a worker that sleeps keep its files for two seconds more.
      globalThis.addEventListener?.('pagehide', ({persisted}) => {
        var own = SABFSKeeper.running || SABFSKeeper.hosts() && SABFSClients.watcher && SABFSKeeper.persisted();
        if (own && !SABFSKeeper.paused) SABFSKeeper.pause(persisted);
      });
      globalThis.addEventListener?.('pageshow', () => {
        // An abort says so itself.
        if (SABFSKeeper.paused) SABFSKeeper.resuming = SABFSKeeper.resume().catch(() => {});
      });
#endif
    },
  },
});
