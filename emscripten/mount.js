// Mounting: Module.sabfs before main(), Module.mountSABFS() at any time, sabfs_mount() in C.
//
// A mount has two steps. The first may wait: a keeper loads the volume into the store. The second does not: the
// program attaches to the volume in the store and gets a backend of WasmFS. Before main() the first step runs as a
// run dependency and the second one in wasmfs_before_preload().
addToLibrary({
  $SABFSMount__deps: [
    '$SABFS', '$SABFSErrors', '$SABFSOptions', '$SABFSKeeper', '$SABFSOwn', '$SABFSRemote', '$SABFSPersist', '$SABFSClients', '$SABFSWatch',
    '$addOnPreRun', '$addOnPostCtor', '$addRunDependency',
    '$removeRunDependency', 'wasmfs_unmount', '$stringToUTF8OnStack', '$stackSave', '$stackRestore', '$stackAlloc',
    'sabfs_attach', 'sabfs_format', 'sabfs_format_own', 'sabfs_open_own', 'sabfs_detach', 'sabfs_volume_current',
    'sabfs_mount_attached', 'sabfs_unmount', 'sabfs_stats', 'sabfs_metrics_numbers', 'sabfs_sync_begin',
    'sabfs_sync_state',
  ],
  $SABFSMount__postset: () => {
    addAtExit('SABFSMount.atExit();');
    return 'SABFSMount.hook();';
  },
  $SABFSMount: {
    // The mount before main: {options, plan} between its two steps, and what went wrong.
    early: null,
    failure: null,
    // The volume that this program has attached to, {volume}.
    attached: null,
    // What was mounted: path to {options, shown}.
    volumes: new Map(),
    // This program has put the volume into the store.
    made: false,
    // The attempt that is under way, a promise; a second one waits for it.
    opening: null,

    hook() {
#if PTHREADS
      if (ENVIRONMENT_IS_PTHREAD) return;
#endif
      Module['mountSABFS'] = (options) => SABFSMount.mount(options);
      addOnPreRun(() => {
        var given = Module['sabfs'];
        if (given === undefined) return;
        addRunDependency('sabfs');
        SABFSMount.prepareEarly(given)
          // An error thrown here would be nobody's: the start waits for dependencies, not for promises. It is kept
          // and thrown where it fails the start.
          .catch((error) => { SABFSMount.failure = error; })
          .then(() => removeRunDependency('sabfs'));
      });
      addOnPostCtor(() => {
        // Where the program is linked without the flags, nothing has called this before the constructors.
        SABFSMount.finishEarly();
        if (SABFSMount.failure) {
          err(SABFSMount.failure.message);
          throw SABFSMount.failure;
        }
      });
    },

    async prepareEarly(given) {
      var options = SABFSOptions.check(given, 'mount the volume');
      SABFSMount.early = {options, plan: await SABFSMount.prepare(options)};
    },

    finishEarly() {
      var early = SABFSMount.early;
      if (!early || SABFSMount.failure) return;
      SABFSMount.early = null;
      try {
        SABFSMount.finish(early.options, early.plan);
      } catch (error) {
        SABFSMount.failure = error;
      }
    },

    // Module.mountSABFS(): resolves with the volume.
    mount(given) {
      given ??= Module['sabfs'] ?? {};
      var attempt = Promise.resolve(SABFSMount.opening).catch(() => {}).then(async () => {
        var options = SABFSOptions.check(given, 'mount the volume');
        var known = SABFSMount.volumes.get(options.path);
        if (known && known.options.volume == options.volume) return known.shown;
        var plan = await SABFSMount.prepare(options);
        var shown = SABFSMount.finish(options, plan);
        if (plan == 'own-files') {
          // What opening the volume wrote has to be there.
          await SABFSOwn.settle(`mount the volume "${options.volume}"`).catch(async (error) => {
            await shown['unmount']().catch(() => {});
            throw error;
          });
        }
        return shown;
      });
      SABFSMount.opening = attempt;
      return attempt;
    },

    // The first step. Resolves with what the second one has to do: 'attach', 'format', 'own' or 'nothing'.
    async prepare(options) {
      var plan = SABFSMount.plan(options);
      for (var waits = 1; plan == 'wait'; waits++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        // Who has claimed the store may have ended before there was a volume in it.
        if (waits % 50 == 0) await SABFSMount.claimOfTheDead();
        plan = SABFSMount.plan(options);
      }
      if (plan == 'own-files') {
        await SABFSOwn.open(options);
        SABFSPersist.ask(options);
      }
      // From the moment that it is a client on others can tell whether it lives.
      await SABFSClients.sign?.held;
      // Somebody has to watch, and to go on with the volume, while this program blocks its thread as it likes.
      if (plan == 'attach' && !SABFSMount.made || plan == 'format' && options.store) await SABFSClients.share(options);
      if (plan != 'keeper') return plan;
      await SABFSMount.startKeeper(options);
      return 'attach';
    },

    // Makes the store free again if its host has ended without a volume in it.
    async claimOfTheDead() {
      var watch = SABFSWatch(), program = Atomics.load(SABFS.i32, watch.PROGRAM);
      if (!program || !(await watch.isHostGone(SABFS.i32))) return;
      // Its keeper ends with it, though perhaps a moment later. Of those who have seen this one succeeds.
      if (Atomics.compareExchange(SABFS.i32, watch.PROGRAM, program, 0) != program) return;
      var keeper = [0, 1].map((word) => Atomics.load(SABFS.i32, watch.KEEPER_SIGN + word));
      while (keeper[0] && !(await watch.isGone(keeper))) await new Promise((resolve) => setTimeout(resolve, 5));
      Atomics.store(SABFS.i32, SABFS.CLAIM, 0);
    },

    startKeeper(options) {
      return SABFSKeeper.start(options).then(() => {
        SABFSPersist.ask(options);
        return SABFSMount.hasMade(options);
      }).catch((error) => {
        // Threads that wait in C read it from the store.
        Atomics.store(SABFS.i32, SABFS.FAILURE, SABFSErrors.toLinux(error));
        Atomics.store(SABFS.i32, SABFS.KEEPER, SABFS.KEEPER_FAILED);
        Atomics.notify(SABFS.i32, SABFS.KEEPER);
        SABFSMount.unclaim();
        throw error;
      });
    },

    unclaim() {
      SABFSKeeper.abdicate();
      Atomics.store(SABFS.i32, SABFS.CLAIM, 0);
    },

    hasMade(options) {
      SABFSMount.made = true;
      // A store that was given is given to others, too.
      return options.store && SABFSClients.share(options);
    },

    // What has to be done for a mount. Takes the store for this program when nobody has a volume in it.
    plan(options) {
      var doing = `mount the volume "${options.volume}"`;
      var fail = (code, why) => { throw SABFSErrors.make(code, doing, why); };
      if (SABFSMount.attached) {
        if (SABFSMount.attached.volume == options.volume) {
          if (_sabfs_volume_current()) return 'nothing';
          // A call in C has started the keeper.
          return Atomics.load(SABFS.i32, SABFS.STATE) == SABFS.READY ? 'attach' : 'wait';
        }
        fail('EBUSY', `this program has mounted the volume "${SABFSMount.attached.volume}": unmount it first`);
      }
      if (options.store && options.store != SABFS.store) {
        fail('EINVAL', 'the store has to be there when the program starts: set Module.sabfs.store');
      }
      if (SABFS.access == 'own') {
        if (SABFS.failure) {
          fail('ENOMEM', `no memory of this size (${SABFS.failure.message}): set a smaller Module.sabfs.capacity`);
        }
        if (options.durability == 'memory') return 'own';
        var why = SABFSOwn.unsupported(options);
        if (why) fail('EOPNOTSUPP', why);
        return 'own-files';
      }
      if (options.access && options.access != SABFS.access) {
        fail('EOPNOTSUPP', `this engine or this program does not allow the access "${options.access}"`);
      }
      if (Atomics.load(SABFS.i32, SABFS.STATE) == SABFS.READY) {
        var has = (Atomics.load(SABFS.i32, SABFS.CAPACITY) >>> 0) * 4096;
        if (options.capacity && SABFSOptions.storePages(options.capacity) != SABFSOptions.storePages(has)) {
          fail('EINVAL', `the volume in this store was mounted with a capacity of ${has} bytes, not of ` +
            `${options.capacity}: leave \`capacity\` out, or mount it first with the one that it is to have`);
        }
        return 'attach';
      }
      var room = SABFS.u8.length;
      if (options.capacity && SABFSOptions.storePages(options.capacity) * 65536 > room) {
        fail('EINVAL', `the store has ${room} bytes, too few for a volume of ${options.capacity}: ` +
          'set Module.sabfs.capacity before the program starts, or give a larger Module.sabfs.store');
      }
      if (room < SABFSOptions.storePages(SABFSOptions.CAPACITY_MIN) * 65536) {
        fail('EINVAL', `a store of ${room} bytes is too small for any volume: give a larger one`);
      }
      // Several programs may share a store: one of them makes or loads the volume.
      if (Atomics.compareExchange(SABFS.i32, SABFS.CLAIM, 0, 1)) return 'wait';
      // Left over from an earlier attempt.
      Atomics.store(SABFS.i32, SABFS.KEEPER, 0);
      SABFSWatch().setHost(SABFS.i32, SABFSClients.program, SABFSClients.sign.words);
      return options.durability == 'memory' ? 'format' : 'keeper';
    },

    // The second step; gives the volume.
    finish(options, plan) {
      var doing = `mount the volume "${options.volume}"`, status = 0;
      switch (plan) {
        case 'attach': status = _sabfs_attach(); break;
        case 'format': status = _sabfs_format(SABFSOptions.storeBytes(options.capacity)); break;
        case 'own': status = _sabfs_format_own(options.capacity || SABFSOwn.CAPACITY); break;
        case 'own-files': status = SABFSOwn.load(options); break;
      }
      if (plan == 'format' && status) SABFSMount.unclaim();
      if (status) {
        if (!SABFSMount.attached) SABFSClients.unwatch();
        if (SABFS.access == 'own' && -status == {{{ cDefs.ENOMEM }}}) {
          throw SABFSErrors.make('ENOMEM', doing, 'the program\'s memory has no room for it: set a smaller ' +
            'capacity, or link with a larger -sINITIAL_MEMORY or -sALLOW_MEMORY_GROWTH');
        }
        var error = SABFSErrors.fromStatus(status, doing);
        throw SABFSOwn.message ? SABFSErrors.refused(error['code'], doing, SABFSOwn.message) : error;
      }
      SABFSMount.attached ??= {volume: options.volume};
      // In C it was not waited for.
      if (plan == 'attach' && !SABFSMount.made) SABFSClients.share(options);
      if (options.path) {
        doing = `mount the volume "${options.volume}" at ${options.path}`;
        var stack = stackSave();
        status = _sabfs_mount_attached(stringToUTF8OnStack(options.path));
        stackRestore(stack);
        if (status) throw SABFSErrors.fromStatus(status, doing);
      }
      SABFSMount.offerSync();
      var volume = {options, shown: SABFSMount.show(options)};
      SABFSMount.volumes.set(options.path, volume);
      if (plan == 'format') SABFSMount.hasMade(options);
      return volume.shown;
    },

    // Module.sabfs.sync(): what a program may await whose fsync() cannot wait.
    offerSync() {
      // In a copy, as several programs may have been given the same options, and not among them.
      Module['sabfs'] = Object.defineProperty({...Module['sabfs']}, 'sync', {value: SABFSMount.sync});
    },

    // What the program's author sees of a volume.
    show(options) {
      var gone = (doing) => {
        if (!SABFSMount.volumes.has(options.path)) throw SABFSErrors.make('ENODEV', doing, 'it was unmounted');
      };
      var unmount = () => SABFSMount.unmount(options);
      return {
        'path': options.path,
        'name': options.volume,
        get 'store'() {
          if (SABFS.access == 'own') return null;
          if (SABFSMount.attached) SABFSClients.share(options);
          return SABFS.store;
        },
        'access': SABFS.access,
        'stats': () => {
          gone('read the statistics');
          return SABFSMount.stats();
        },
        'metrics': () => {
          gone('read the metrics');
          return SABFSMount.metrics();
        },
        'sync': async () => {
          gone('sync the volume');
          await SABFSMount.sync();
        },
        'persisted': () => SABFSPersist.persisted(),
        'unmount': unmount,
        'close': unmount,
      };
    },

    stats() {
      var stack = stackSave(), at = stackAlloc(8 * 9) >> 3;
      _sabfs_stats(at << 3);
      var [size, free, capacity, dirty, inodes, commits, written, flushes, state] = HEAPF64.subarray(at, at + 9);
      stackRestore(stack);
      return {
        'sizeBytes': size,
        'freeBytes': free,
        'capacityBytes': capacity,
        'dirtyBlocks': dirty,
        'inodes': inodes,
        'commits': commits,
        'blocksWritten': written,
        'flushes': flushes,
        // Whether everything that was changed so far is on the device.
        'durable': state == 1 && SABFSRemote.caughtUp(),
      };
    },

    // What the volume has done since it was mounted and how it is; docs/metrics.md explains each.
    metrics() {
      var stack = stackSave(), at = stackAlloc(8 * 30) >> 3;
      _sabfs_metrics_numbers(at << 3);
      var numbers = Array.from(HEAPF64.subarray(at, at + 30)), next = () => numbers.shift();
      stackRestore(stack);
      var latency = () => ({'count': next(), 'p50Us': next(), 'p99Us': next(), 'maxUs': next()});
      var word = (linux) => linux ? SABFSErrors.word(linux) : null;
      return {
        'commits': next(),
        'commitsFailed': next(),
        'journalWrittenBytes': next(),
        'imageWrittenBytes': next(),
        'journalFlushes': next(),
        'imageFlushes': next(),
        'checkpoints': next(),
        'fsyncs': next(),
        'fsyncsFailed': next(),
        'commitLatency': latency(),
        'fsyncLatency': latency(),
        'change': next(),
        'written': next(),
        'durable': next(),
        'dirtyBlocks': next(),
        'dirtyMetaBlocks': next(),
        'quarantinedBlocks': next(),
        'roomBlocks': next(),
        'roomWantedBlocks': next(),
        'roomShort': next() == 1,
        'keeperUp': next() == 1,
        'durability': SABFSOptions.DURABILITIES[next()],
        'failure': word(next()),
        'lastFailure': word(next()),
      };
    },

    // Asks for a commit and waits for it without blocking the thread.
    async sync() {
      // What a remote device has refused it may take now.
      await SABFSOwn.settle('sync the volume');
      var change = _sabfs_sync_begin(), wait = 1;
      for (;;) {
        var status = _sabfs_sync_state(change);
        if (status == 0) return SABFSOwn.settle('sync the volume');
        if (status < 0) throw SABFSErrors.fromStatus(status, 'sync the volume');
        await new Promise((resolve) => setTimeout(resolve, wait));
        wait = Math.min(wait * 2, 20);
      }
    },

    async unmount(options) {
      var doing = `unmount ${options.path}`;
      if (!SABFSMount.volumes.has(options.path)) throw SABFSErrors.make('ENODEV', doing, 'it was unmounted already');
      if (options.path) {
        var stack = stackSave();
        var status = _sabfs_unmount(stringToUTF8OnStack(options.path));
        stackRestore(stack);
        if (status) throw SABFSErrors.fromStatus(status, doing);
      }
      SABFSMount.volumes.delete(options.path);
      try {
        await SABFSMount.sync();
      } finally {
        await SABFSMount.letGo();
      }
    },

    // After the last mount the volume becomes free for others.
    async letGo() {
      // What somebody owned who has ended just now is recovered while this program can.
      var gone = SABFS.i32 ? await SABFSWatch().buryGone(SABFS.i32) : [];
      for (var [slot, serial] of gone) SABFSClients.bury(slot, serial);
      // It may have been mounted again meanwhile.
      if (SABFSMount.volumes.size) return;
      SABFSMount.attached = null;
      SABFSMount.made = false;
      // Where this thread must not sleep the module for pages gives a promise.
      await _sabfs_detach();
      var errno = 0;
      if (SABFSKeeper.running) {
        await SABFSKeeper.leave();
      } else {
        errno = await SABFSClients.unwatch();
      }
      await SABFSOwn.close();
      if (errno) SABFSKeeper.closedBadly(errno);
    },

    // The program ends, the page may go on: without its keeper the volume can be opened again.
    atExit() {
#if PTHREADS
      if (ENVIRONMENT_IS_PTHREAD) return;
#endif
      if (_sabfs_volume_current()) _sabfs_detach();
      SABFSMount.attached = null;
      SABFSClients.leave();
      if (!SABFSKeeper.running) {
        SABFSClients.unwatch();
      } else {
        // At once, as there may be no later.
        if (!SABFSKeeper.shared()) SABFSKeeper.requestStop();
        SABFSKeeper.leave().catch((error) => err(error.message));
      }
      SABFSOwn.close();
    },
  },

  // What FS.unmount() calls. Linked with --wrap=wasmfs_unmount, a program exports no function of this name.
  wasmfs_unmount__deps: ['sabfs_unmount'],
  wasmfs_unmount: (path) => _sabfs_unmount(path),

  // Called by wasmfs_before_preload().
  sabfs_js_before_main__deps: ['$SABFSMount', '$wasmFSPreloadedFiles', 'sabfs_make_way'],
  sabfs_js_before_main: () => {
    SABFSMount.finishEarly();
    // WasmFS stops the program where a file is that it is to put there, as after the first run it is.
    for (var path of SABFSMount.volumes.keys()) {
      for (var {pathName} of wasmFSPreloadedFiles) {
        if (!path || !pathName.startsWith(path + '/')) continue;
        var stack = stackSave();
        _sabfs_make_way(stringToUTF8OnStack(pathName));
        stackRestore(stack);
      }
    }
  },

  // The start of sabfs_mount(): 0 when the volume is there, 1 when its keeper is on the way, or a negative errno.
  sabfs_js_open__deps: ['$SABFSMount', '$UTF8ToString'],
  sabfs_js_open__proxy: 'sync',
  sabfs_js_open: (at) => {
    try {
      var given = {...Module['sabfs'], 'path': null};
      if (at) {
        // struct sabfs_options
        var name = {{{ makeGetValue('at', 0, '*') }}}, flags = HEAPU32[(at + 20) >>> 2];
        var capacity = HEAPU32[(at + 8) >>> 2] + HEAPU32[(at + 12) >>> 2] * 2 ** 32;
        var durability = HEAPU32[(at + 16) >>> 2];
        if (name) given['volume'] = UTF8ToString(name);
        if (capacity) given['capacity'] = capacity;
        if (durability) given['durability'] = SABFSOptions.DURABILITIES[durability - 1] ?? String(durability);
        if (flags & 1) given['readOnly'] = true;
      }
      var options = SABFSOptions.check(given, 'mount the volume');
      var plan = SABFSMount.plan(options);
      if (plan == 'own-files') {
        // Files are opened by promises, for which a thread that is blocked here cannot wait.
        throw SABFSErrors.make('EOPNOTSUPP', `mount the volume "${options.volume}"`,
          'with a store of its own a program opens its files before: set Module.sabfs or await Module.mountSABFS()');
      }
      if (plan == 'keeper' || plan == 'wait') {
#if ENVIRONMENT_MAY_BE_WEB || ENVIRONMENT_MAY_BE_WORKER
        var blocked = !ENVIRONMENT_IS_NODE;
#if PTHREADS
        blocked &&= !PThread.currentProxiedOperationCallerThread;
#endif
        if (blocked) {
          if (plan == 'keeper') SABFSMount.unclaim();
          throw SABFSErrors.make('EOPNOTSUPP', `mount the volume "${options.volume}"`,
            'its keeper cannot start while this thread is blocked: set Module.sabfs, await Module.mountSABFS() ' +
            'before, or link with -sPROXY_TO_PTHREAD');
        }
#endif
        SABFSMount.attached = {volume: options.volume};
        if (plan == 'keeper') {
          SABFSMount.startKeeper(options).catch((error) => {
            SABFSMount.attached = null;
            err(error.message);
          });
        }
        return 1;
      }
      SABFSMount.finish(options, plan);
      return 0;
    } catch (error) {
      err(error.message);
      return SABFSErrors.toStatus(error);
    }
  },
});
