// How a program goes on with a volume when the one that ran its keeper has died or left.
//
// Each program that shares a store has a worker that watches (watch.js). One of the programs is the host: the keeper is its
// worker's or its own, and its watcher watches over the clients. The others' watchers wait for the host's end, and the first one
// to hear of it makes its program the host. It starts a keeper that follows the last one, and follows that as long as it lives.
//
// Who may do that is decided in one of three ways:
//   browsers, volume persisted   the origin's lock of the volume, which the host holds, is granted to those who wait, in turn
//   locks otherwise              the lock of the host's program is waited for, then its number in the store is exchanged
//   threads of Node on Linux     the host's thread is looked for in /proc, then its number in the store is exchanged
//
// The words that tell of the host are HAND_OVER of src/store/runtime.rs; watch.js has their places.
const SabfsHeir = {
  STATE: 16 >> 2, DURABILITY: 20 >> 2, READ_ONLY: 24 >> 2, FAILURE: 28 >> 2, CLAIM: 32 >> 2,
  BELL: 192 >> 2, DURABLE: 200 >> 2, WRITTEN: 204 >> 2, KEEPER: 208 >> 2, BEAT: 212 >> 2,
  STOP: 216 >> 2, COMMITS: 220 >> 2,
  READY: 1, FAILED: 2, CLOSED: 3, MEMORY: 2, UP: 1, STOPPED: 2, KEEPER_FAILED: 3, PAUSE: 2,

  // A keeper that has not said by then that it lives may have been ended before it could.
  FOLLOW_LIMIT_MS: 10000,
  // How often a keeper may die in a row, with no commit in between, before nobody follows it.
  DEATHS_LIMIT: 5,
  // How long another page's lock on the volume is waited for, as in start.js.
  LOCK_LIMIT_MS: 1500,
  PAUSE_LIMIT_MS: 3000,
  // A host that was put aside sleeps with all that share its store. Who sees it aside so many seconds of a life of his own
  // was not put aside with it, and goes on.
  ASIDE_LIMIT: 5,
  // How often the host's thread is looked for.
  LOOK_MS: 50,

  // The volume's name and folder, in the store.
  read(words, at) {
    const length = Atomics.load(words, at >> 2);
    return new TextDecoder().decode(new Uint8Array(words.buffer, at + 4, length).slice());
  },

  write(words, at, end, text) {
    const bytes = new TextEncoder().encode(text ?? '');
    const fits = at + 4 + bytes.length <= end;
    if (fits) new Uint8Array(words.buffer, at + 4, bytes.length).set(bytes);
    Atomics.store(words, at >> 2, fits ? bytes.length : 0);
  },

  // A keeper says what those have to know who follow it, before it opens the files.
  note(words, volume, folder) {
    const {VOLUME, FOLDER, END, KEEPER_SIGN} = SabfsWatch, isNode = SabfsDevices.isNode;
    const path = isNode && process['getBuiltinModule']('node:path').resolve(folder);
    SabfsHeir.write(words, VOLUME, FOLDER, volume);
    SabfsHeir.write(words, FOLDER, END, path || '');
    // In browsers the files themselves tell when they are free.
    const [kind, detail] = isNode ? SabfsWatch.sign().words : [0, 0];
    Atomics.store(words, KEEPER_SIGN + 1, detail);
    Atomics.store(words, KEEPER_SIGN, kind);
  },

  // What a watcher does about the host. `setup` is the message that it was started with: {watch, own, program, script, inline,
  // keeper, helper}. Gives {look, receive, isAside}: look() is called every now and then, and tells when it has to be again.
  of({watch: store, own, program, script, inline, keeper, helper}, post) {
    const Heir = SabfsHeir, Watch = SabfsWatch, {isNode} = SabfsDevices;
    const words = new Int32Array(store.buffer ?? store), load = (at) => Atomics.load(words, at);
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const threads = (own[0] & 3) == Watch.THREAD;
    // This worker's, which is what a keeper that it starts dies with.
    const sign = threads ? Watch.sign().words : [0, 0];
    const isMemory = () => load(Heir.DURABILITY) == Heir.MEMORY;

    // This worker runs the keeper, if there is one, and has begun to at `going`.
    let hosting = false, going = null, leaving = false, stopping = false, put = false;
    // The keeper's worker; `ended` resolves when it has ended, with whether that was in order.
    let worker = null, ended = null;
    // How this worker hears of that in browsers, and what stops it.
    let hear = () => {}, ear = null;
    let deaths = 0, commits = 0;
    // What waits for the volume's lock, and what gives it back.
    let waiting = null, release = () => {};
    // The program whose end is waited for.
    let awaited = 0;
    // Seconds that the host has been aside, and when the last of them was counted.
    let aside = 0, counted = 0;

    const ring = (stop) => {
      Atomics.store(words, Heir.STOP, stop);
      Atomics.add(words, Heir.BELL, 1);
      Atomics.notify(words, Heir.BELL);
    };

    // With the page that the host is in.
    const isAside = () => load(Watch.ASIDE) != 0 && load(Watch.PROGRAM) != 0;

    // Whether there is a volume to go on with. A keeper that has failed leaves nothing that another one could do better.
    const mayTake = () => !leaving && !hosting && load(Heir.STATE) == Heir.READY && load(Watch.PROGRAM) != program &&
      (isMemory() || [Heir.UP, Heir.STOPPED].includes(load(Heir.KEEPER))) && (!isAside() || aside >= Heir.ASIDE_LIMIT);

    const become = () => {
      hosting = true;
      Atomics.store(words, Watch.ASIDE, 0);
      // This worker watches over the clients from now on.
      Atomics.notify(words, Watch.SERIAL);
      going = takeOver();
    };

    const volumeLock = () => `sabfs:${Heir.read(words, Watch.VOLUME)}:keeper`;

    function queue() {
      if (waiting) return;
      const controller = waiting = new AbortController();
      navigator['locks'].request(volumeLock(), {'signal': controller.signal}, () => {
        waiting = null;
        if (!mayTake()) return;
        Atomics.store(words, Watch.PROGRAM, program);
        become();
        return new Promise((end) => { release = end; });
      }).catch(() => {}).finally(() => {
        if (waiting == controller) waiting = null;
      });
    }

    function awaitProgram() {
      const host = load(Watch.PROGRAM);
      if (host && awaited == host) return;
      awaited = host;
      (host ? Watch.lost(Watch.LOCK, host) : Promise.resolve()).then(() => {
        if (awaited == host) awaited = 0;
        if (mayTake() && Atomics.compareExchange(words, Watch.PROGRAM, host, program) == host) become();
      }, () => { awaited = 0; });
    }

    // Makes this thread the host in the place of what was read there.
    function exchangeThread(host) {
      const [kind, start] = sign;
      // Until the time of its start is there, nobody else may compare it.
      if (!kind || Atomics.compareExchange(words, Watch.HOST, host, kind | Watch.CLAIMING) != host) return false;
      Atomics.store(words, Watch.HOST + 1, start);
      Atomics.store(words, Watch.PROGRAM, program);
      Atomics.store(words, Watch.HOST, kind);
      return true;
    }

    function lookForThread() {
      const host = load(Watch.HOST);
      if ((!host || Watch.hostGone(host, load(Watch.HOST + 1))) && exchangeThread(host)) become();
    }

    // Takes back what this program has given away, and nobody took. Resolves with false when somebody has.
    async function takeBack() {
      if (threads) {
        hosting = exchangeThread(0);
      } else if (isNode || isMemory()) {
        hosting = Atomics.compareExchange(words, Watch.PROGRAM, 0, program) == 0;
      } else {
        await new Promise((resolve, reject) => {
          navigator['locks'].request(volumeLock(), {'ifAvailable': true}, (lock) => {
            hosting = !!lock && Atomics.compareExchange(words, Watch.PROGRAM, 0, program) == 0;
            resolve();
            return hosting && new Promise((end) => { release = end; });
          }).catch(reject);
        });
      }
      return hosting;
    }

    function look() {
      if (!own[0] || hosting || leaving || load(Heir.STATE) != Heir.READY) return 1000;
      if (isAside()) {
        const now = performance.now();
        if (now - counted > 900) [aside, counted] = [aside + 1, now];
      } else {
        aside = 0;
      }
      if (!mayTake()) {
        // A page for whose lock somebody waits is not kept.
        waiting?.abort();
        return 1000;
      }
      if (threads) {
        lookForThread();
        return Heir.LOOK_MS;
      }
      if (isNode || isMemory()) awaitProgram();
      else queue();
      return 1000;
    }

    // Goes on with the volume, and with each keeper's successor.
    async function takeOver() {
      if (isMemory()) return;
      // Chromium lets a worker whose maker has died go on for as long as it does not come to rest, with all its files.
      if (!isNode && !put) ring(Heir.PAUSE);
      for (;;) {
        const now = load(Heir.COMMITS);
        deaths = now == commits ? deaths + 1 : 1;
        commits = now;
        // Who waits for a commit has patience with each that follows, not with all of them together.
        Atomics.add(words, Heir.BEAT, 1);
        try {
          const last = [load(Watch.KEEPER_SIGN), load(Watch.KEEPER_SIGN + 1)];
          while (last[0] && !(await Watch.isGone(last))) await sleep(5);
          return await start();
        } catch (error) {
          // The files of a worker that is about to end are not free yet.
          if ((error.gone || error.code == 'EBUSY') && deaths < Heir.DEATHS_LIMIT) continue;
          fail(error.message);
          return;
        }
      }
    }

    // Nobody serves the volume any more, and nobody may wait for that.
    function fail(why) {
      Atomics.store(words, Heir.FAILURE, 5);
      Atomics.store(words, Heir.KEEPER, Heir.KEEPER_FAILED);
      for (const word of [Heir.KEEPER, Heir.DURABLE, Heir.WRITTEN]) Atomics.notify(words, word);
      post({failed: `cannot go on with the volume "${Heir.read(words, Watch.VOLUME)}", whose keeper has died: ${why}`});
    }

    function makeWorker() {
      const name = 'sabfs-keeper';
      if (!isNode) return new Worker(script ?? self.location.href, {name});
      const {Worker: NodeWorker} = process['getBuiltinModule']('node:worker_threads');
      return new NodeWorker(/^file:/.test(script) ? new URL(script) : script, {eval: inline, name});
    }

    // Resolves when the keeper serves the volume.
    function start() {
      const volume = Heir.read(words, Watch.VOLUME), folder = Heir.read(words, Watch.FOLDER);
      if (!volume || isNode && !folder) throw new Error('its folder has too long a name to be handed over');
      const made = worker = makeWorker();
      let end;
      ended = new Promise((resolve) => { end = resolve; });
      return new Promise((resolve, reject) => {
        let over = false, ready = false, refused = null;
        const gone = (inOrder) => {
          if (over) return;
          over = true;
          // Its lock may be heard of before its message.
          inOrder ||= stopping && load(Heir.STOP) == 0;
          clearTimeout(timer);
          if (worker == made) worker = null;
          made.terminate();
          reject(refused ?? Object.assign(new Error('the keeper that was to follow has ended'), {gone: true}));
          end(inOrder);
          if (ready && !inOrder && !stopping && !put) going = takeOver();
        };
        const timer = setTimeout(gone, Heir.FOLLOW_LIMIT_MS, false);
        const receive = (data) => {
          const message = data?.sabfs ?? {};
          if (message.alive) {
            clearTimeout(timer);
            // Granted when the worker has ended, however it did.
            hear = () => {
              ear = new AbortController();
              navigator['locks'].request(alive, {'signal': ear.signal}, () => gone(false)).catch(() => {});
            };
            hear();
          }
          if (message.started && (isNode || !alive)) clearTimeout(timer);
          if (message.warning) post({warning: message.warning, volume});
          if (message.error) {
            refused = Object.assign(new Error(message.error.message), {code: message.error.errno == 16 ? 'EBUSY' : 'EIO'});
          }
          if (message.ready) {
            ready = true;
            resolve();
          }
          if (message.stopped) gone(!!message.inOrder);
        };
        if (isNode) {
          made.on('message', receive);
          made.on('error', () => gone(false));
          made.on('exit', () => gone(false));
        } else {
          made.onmessage = ({data}) => receive(data);
          made.onerror = () => gone(false);
        }
        const alive = !isNode && navigator['locks'] && `sabfs:${volume}:${crypto.randomUUID()}`;
        made.postMessage({
          store, limit: 2 ** 32, volume, folder, readOnly: load(Heir.READ_ONLY) != 0, alive, keeper, helper, follows: true,
        });
      });
    }

    function abdicate() {
      hosting = false;
      Atomics.store(words, Watch.PROGRAM, 0);
      Atomics.store(words, Watch.HOST, 0);
      release();
      // The others' watchers sleep there.
      Atomics.notify(words, Watch.SERIAL);
    }

    // The program has left the store: somebody else goes on with the volume, or it is closed. `given`: the program has given it
    // away itself.
    async function leave(given) {
      leaving = true;
      waiting?.abort();
      await going;
      let errno = 0, told = false;
      while (hosting || given) {
        // Unless this worker has taken it itself, before it was told to leave.
        if (given && !hosting) {
          for (let tries = 0; tries < 100 && !load(Watch.PROGRAM) && Watch.heirs(words); tries++) {
            await sleep(10);
            // Nobody else watches while there is no host.
            await Watch.buryGone(words);
          }
          // Those who were there have left, too, or have died.
          if (load(Watch.PROGRAM) || load(Heir.STATE) != Heir.READY) break;
          // Somebody may have the lock who is about to let it go.
          if (!(await takeBack())) {
            await sleep(20);
            continue;
          }
          await (going = takeOver());
          // Until this worker has heard of that.
          if (Watch.heirs(words)) await sleep(1500);
        }
        await Watch.buryGone(words);
        for (; !isMemory() && Watch.attached(words) && !Watch.heirs(words); await sleep(100)) {
          // Nobody else can: this worker stays.
          if (!told) post({left: {stays: true}});
          told = true;
        }
        given = Watch.heirs(words);
        if (worker) {
          const stopped = ended;
          stopping = true;
          ring(given ? Heir.PAUSE : 1);
          if (given) Atomics.store(words, Watch.PROGRAM, 0);
          if (!(await stopped) && !given) errno = 5;
          stopping = false;
        }
        if (!given && !isMemory()) {
          if (load(Heir.KEEPER) == Heir.KEEPER_FAILED) errno = load(Heir.FAILURE) || 5;
          Atomics.store(words, Heir.STATE, Heir.CLOSED);
        }
        abdicate();
        if (!given && !isMemory()) Atomics.store(words, Heir.CLAIM, 0);
      }
      post({left: {errno}});
    }

    // The page is put aside; it has told the keeper.
    function pause() {
      if (!hosting || !worker) return;
      put = true;
      // A page that is given a lock on its way to the cache is thrown away.
      ear?.abort();
      release();
    }

    // The page is shown again, and the volume is its own if nobody had it meanwhile.
    async function resume() {
      if (!put) return;
      put = false;
      try {
        const left = await Promise.race([ended, sleep(Heir.PAUSE_LIMIT_MS).then(() => null)]);
        await new Promise((resolve, reject) => {
          navigator['locks'].request(volumeLock(), {'signal': AbortSignal['timeout'](Heir.LOCK_LIMIT_MS)},
            () => new Promise((end) => {
              release = end;
              resolve();
            })).catch(() => reject(new Error('it is open elsewhere: close the other tab or program that uses it')));
        });
        Atomics.store(words, Watch.ASIDE, 0);
        // Without an answer its files were never closed.
        if (left === null) {
          ring(0);
          hear();
        } else {
          going = takeOver();
        }
        await going;
        if (load(Heir.KEEPER) == Heir.KEEPER_FAILED) Atomics.store(words, Heir.STATE, Heir.FAILED);
      } catch (error) {
        Atomics.store(words, Heir.STATE, Heir.FAILED);
        fail(`${error.message}: this page must be reloaded`);
        release();
      }
    }

    return {
      look,
      isAside,
      receive(message) {
        if (message.leaving) leaving = true;
        else if (message.leave) leave(message.given);
        else if (message.pause) pause();
        else if (message.resume) resume();
      },
    };
  },

  // In a worker of its own: watches for as long as it lives. listen(receive) has later messages of the program handed on.
  async serve(setup, post, listen) {
    const {watch: store, own, program} = setup, words = new Int32Array(store.buffer ?? store);
    // Node ends a thread that has nothing but this to wait for.
    setInterval(() => {}, 2 ** 30);
    const heir = SabfsHeir.of(setup, post);
    listen(heir.receive);
    // Chromium hands a worker's first messages on when its maker's thread comes to it, which may be about to sleep.
    post({watching: true});
    const lookAtClients = SabfsWatch.over(words, (slot, serial) => {
      if (SabfsWatch.bury(words, slot, serial)) post({died: [slot, serial]});
    }, own, () => Atomics.load(words, SabfsWatch.PROGRAM) == program, heir.isAside);
    for (;;) {
      const serial = Atomics.load(words, SabfsWatch.SERIAL), ms = Math.min(heir.look(), lookAtClients());
      // Whoever comes rings here.
      const {async: later, value} = Atomics.waitAsync ? Atomics.waitAsync(words, SabfsWatch.SERIAL, serial, ms)
        : {async: true, value: new Promise((resolve) => setTimeout(resolve, Math.min(ms, 100)))};
      if (later) await value;
    }
  },
};
