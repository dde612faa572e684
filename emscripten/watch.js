// How a client of a store shows that it lives, and how others hear that it does not.
//
// A client's slot (src/store/clients.rs) has two words for its sign of life:
//   1 or 3, TOKEN            it holds the origin's lock `sabfs:client:TOKEN` while it lives, and each of its threads one
//                            whose name begins with that; 3: it has asked for its lock, and may not have it yet
//   2 | THREAD << 2, START   it is this thread of the process, which Linux started then
// In browsers it is the lock, which is granted to who waits for it within a millisecond or two of the death. Node has such
// locks from version 24 on; on Linux it tells by its threads.
//
// Programs use this and, for the one that has made the volume, a worker of the keeper's script: it has to hear of a death while
// all programs are busy or asleep, and the keeper may wait for the dead one itself.
const SabfsWatch = {
  SERIAL: 40 >> 2,
  GATE: 64 >> 2,
  LOCK_GUARD: 256 >> 2,
  CLIENTS: 4096 >> 2,
  CLIENT_WORDS: 128 >> 2,
  CLIENTS_MAX: 64,
  DEAD: 3,
  LOCK: 1,
  THREAD: 2,
  ASKED: 3,

  fs: () => globalThis.process?.['getBuiltinModule']?.('node:fs'),

  lockName: (token) => `sabfs:client:${(token >>> 0).toString(16)}`,

  // When a thread of this process began, as far as 32 bits tell; null when there is none of this number.
  startOf(thread) {
    try {
      const stat = SabfsWatch.fs().readFileSync(`/proc/self/task/${thread}/stat`, 'latin1');
      // The second field is a name in brackets that may itself hold brackets and spaces.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return 'ZX'.includes(fields[0]) ? null : Number(BigInt.asIntN(32, BigInt(fields[19])));
    } catch {
      return null;
    }
  },

  // The calling thread's sign: {words, hold, held, release}. Zeros where there is none: nobody hears of its death. `held`
  // resolves when the lock is there. A page that is put aside gives it back, and takes it again when it is shown.
  sign() {
    const sign = {words: [0, 0], hold() {}, held: Promise.resolve(), release() {}};
    if (globalThis.process?.platform == 'linux' && SabfsWatch.fs()) {
      try {
        const thread = Number(SabfsWatch.fs().readlinkSync('/proc/thread-self').split('/').pop());
        const start = SabfsWatch.startOf(thread);
        if (start !== null) return {...sign, words: [SabfsWatch.THREAD | thread << 2, start]};
      } catch {
        // No /proc.
      }
    }
    const locks = globalThis.navigator?.['locks'];
    if (!locks) return sign;
    const [token] = crypto.getRandomValues(new Int32Array(1));
    sign.words = [SabfsWatch.ASKED, token];
    sign.hold = () => new Promise((resolve) => {
      const hold = () => new Promise((release) => {
        sign.release = release;
        sign.words[0] = SabfsWatch.LOCK;
        resolve();
      });
      locks.request(SabfsWatch.lockName(token), hold).catch(() => {
        // A page without an origin of its own has no locks.
        sign.words = [0, 0];
        resolve();
      });
    });
    sign.held = sign.hold();
    return sign;
  },

  // The calling thread belongs to the program with this sign.
  belong([kind, token]) {
    if (!kind || (kind & 3) == SabfsWatch.THREAD) return;
    const name = `${SabfsWatch.lockName(token)}/${crypto.randomUUID()}`;
    navigator['locks'].request(name, () => new Promise(() => {})).catch(() => {});
  },

  // Says that a client has died, as store::clients::mark_dead() does: nobody waits for it from now on. False when it had
  // left the store.
  bury(words, slot, serial) {
    const at = SabfsWatch.CLIENTS + (slot - 1) * SabfsWatch.CLIENT_WORDS;
    for (;;) {
      const word = Atomics.load(words, at);
      if (!(word & 3) || word >>> 2 != serial) return false;
      if (Atomics.compareExchange(words, at, word, word | SabfsWatch.DEAD) != word) continue;
      for (const lock of [SabfsWatch.GATE, SabfsWatch.LOCK_GUARD]) Atomics.notify(words, lock);
      return true;
    }
  },

  // Resolves when nobody holds the locks any more.
  async lost(kind, token) {
    const name = SabfsWatch.lockName(token), locks = navigator['locks'];
    let seen = kind == SabfsWatch.LOCK;
    for (let tries = 0; tries < 4; tries++) {
      for (;;) {
        const {'held': held, 'pending': pending} = await locks['query']();
        const lock = [...held, ...pending].find((lock) => lock.name == name || lock.name.startsWith(`${name}/`));
        if (!lock) break;
        seen = true;
        await locks.request(lock.name, () => {});
      }
      if (seen) return;
      // Asked for, and not known to the browser yet.
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  },

  // Watches over the clients of the store of these words, but for the one with the sign `own`; bury(slot, serial) is called
  // when one has died. Gives look(), to be called every now and then: resolves with the time until it has to be again.
  over(words, bury, own) {
    // The serial number of the client that is watched over, or that is known to be dead, by its slot.
    const known = new Map(), dead = new Map();
    // Whether there is one of which nobody tells.
    let polls = false;
    const visit = (slot, word) => {
      const at = SabfsWatch.CLIENTS + (slot - 1) * SabfsWatch.CLIENT_WORDS, serial = word >>> 2;
      if ((word & 3) == SabfsWatch.DEAD) {
        // It said so itself.
        if (dead.get(slot) != serial) bury(slot, serial);
        dead.set(slot, serial);
        return;
      }
      const kind = Atomics.load(words, at + 1), detail = Atomics.load(words, at + 2);
      if (!kind || own[1] == detail && (own[0] == kind || (kind & 3) != SabfsWatch.THREAD)) return;
      // The slot may have got another client meanwhile.
      if (Atomics.load(words, at) != word) return;
      if ((kind & 3) == SabfsWatch.THREAD) {
        polls = true;
        if (SabfsWatch.startOf(kind >>> 2) !== detail) bury(slot, serial);
      } else if (known.get(slot) != serial) {
        known.set(slot, serial);
        SabfsWatch.lost(kind, detail).then(() => bury(slot, serial), () => known.delete(slot));
      }
    };
    return () => {
      polls = false;
      for (let slot = 1; slot <= SabfsWatch.CLIENTS_MAX; slot++) {
        const word = Atomics.load(words, SabfsWatch.CLIENTS + (slot - 1) * SabfsWatch.CLIENT_WORDS);
        if (word & 3) visit(slot, word);
      }
      return polls ? 30 : 1000;
    };
  },

  // In a worker of its own: watches for as long as it lives.
  async serve({watch: store, own}, post) {
    const words = new Int32Array(store.buffer ?? store);
    // Node ends a thread that has nothing but this to wait for.
    setInterval(() => {}, 2 ** 30);
    const look = SabfsWatch.over(words, (slot, serial) => {
      if (SabfsWatch.bury(words, slot, serial)) post({died: [slot, serial]});
    }, own);
    for (;;) {
      const serial = Atomics.load(words, SabfsWatch.SERIAL), ms = look();
      // Whoever comes rings here.
      const {async: later, value} = Atomics.waitAsync ? Atomics.waitAsync(words, SabfsWatch.SERIAL, serial, ms)
        : {async: true, value: new Promise((resolve) => setTimeout(resolve, Math.min(ms, 100)))};
      if (later) await value;
    }
  },
};
