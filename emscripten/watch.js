// How a client of a store shows that it lives, and how others hear that it does not.
//
// A client's slot (src/store/clients.rs) has two words for its sign of life:
//   1 or 3, TOKEN            it holds the origin's lock `sabfs:client:TOKEN` while it lives, and each of its threads one
//                            whose name begins with that; 3: it has asked for its lock, and may not have it yet
//   2 | THREAD << 2, START   it is this thread of the process, which Linux started then
// In browsers it is the lock, which is granted to who waits for it within a millisecond or two of the death. Node has such
// locks from version 24 on; on Linux it tells by its threads.
//
// Programs use this, and a worker that each of them has where a store is shared: a death has to be heard of while all programs are
// busy or asleep, and the keeper may wait for the dead one itself. The worker of the program that runs the keeper watches over all;
// the others' workers wait until it is their turn (heir.js), and tell their programs of those who are known to be dead.
const SabfsWatch = {
  SERIAL: 40 >> 2,
  GATE: 64 >> 2,
  LOCK_GUARD: 256 >> 2,
  CLIENTS: 4096 >> 2,
  CLIENT_WORDS: 128 >> 2,
  // In a slot: its program has a worker that can go on with the volume.
  HEIR: 12 >> 2,
  CLIENTS_MAX: 64,
  DEAD: 3,
  // Who runs the keeper, as words: the sign of life of the thread that has started it (two), a number of its program, the keeper's
  // own sign (two), whether it is put aside with its page. As bytes: the volume's name and its folder, the word with the length first.
  HOST: 512 >> 2,
  PROGRAM: 520 >> 2,
  KEEPER_SIGN: 524 >> 2,
  ASIDE: 532 >> 2,
  VOLUME: 536,
  FOLDER: 604,
  END: 4096,
  // In HOST: the thread is there, the time of its start is not yet.
  CLAIMING: 1 << 30,
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

  // Whether the thread that is host has ended.
  hostGone(host, start) {
    const seen = SabfsWatch.startOf((host & ~SabfsWatch.CLAIMING) >>> 2);
    return host & SabfsWatch.CLAIMING ? seen === null : seen !== start;
  },

  // Whether who has this sign has ended, as far as can be told.
  async isGone([kind, detail]) {
    if (!kind) return false;
    if ((kind & 3) == SabfsWatch.THREAD) return SabfsWatch.hostGone(kind, detail);
    const name = SabfsWatch.lockName(detail), {'held': held, 'pending': pending} = await navigator['locks']['query']();
    return ![...held, ...pending].some((lock) => lock.name == name || lock.name.startsWith(`${name}/`));
  },

  // Says of those clients that they have died who are known to be gone, and of whom nobody has heard yet. Resolves with them,
  // as [slot, serial].
  async buryGone(words) {
    const found = [];
    for (const at of SabfsWatch.living(words)) {
      const word = Atomics.load(words, at), sign = [Atomics.load(words, at + 1), Atomics.load(words, at + 2)];
      // A lock that was asked for may not be known to the browser yet.
      if (sign[0] == SabfsWatch.ASKED || !(await SabfsWatch.isGone(sign))) continue;
      const slot = (at - SabfsWatch.CLIENTS) / SabfsWatch.CLIENT_WORDS + 1;
      // bury() compares the serial number, as the slot may have got another client meanwhile.
      if (SabfsWatch.bury(words, slot, word >>> 2)) found.push([slot, word >>> 2]);
    }
    return found;
  },

  // Whether the host has ended: who has claimed the store, before it has a volume.
  async isHostGone(words) {
    const host = Atomics.load(words, SabfsWatch.HOST), program = Atomics.load(words, SabfsWatch.PROGRAM);
    if (host) return SabfsWatch.hostGone(host, Atomics.load(words, SabfsWatch.HOST + 1));
    return program != 0 && !!globalThis.navigator?.['locks'] && SabfsWatch.isGone([SabfsWatch.LOCK, program]);
  },

  // Says who is host; with `program` 0 nobody is.
  setHost(words, program, [kind, detail]) {
    const isThread = program && (kind & 3) == SabfsWatch.THREAD;
    Atomics.store(words, SabfsWatch.HOST + 1, isThread ? detail : 0);
    Atomics.store(words, SabfsWatch.PROGRAM, program);
    Atomics.store(words, SabfsWatch.ASIDE, 0);
    Atomics.store(words, SabfsWatch.HOST, isThread ? kind : 0);
    // The others' watchers sleep there.
    Atomics.notify(words, SabfsWatch.SERIAL);
  },

  // Slots of clients that live, as far as is known, but for the one that is dead and not known to be yet; as indices.
  living(words, dying) {
    const slots = Array.from({length: SabfsWatch.CLIENTS_MAX}, (_, slot) => SabfsWatch.CLIENTS + slot * SabfsWatch.CLIENT_WORDS);
    return slots.filter((at, index) => index + 1 != dying && ![0, SabfsWatch.DEAD].includes(Atomics.load(words, at) & 3));
  },

  attached: (words, dying) => SabfsWatch.living(words, dying).length > 0,

  // Whether a program is attached that can go on with the volume; of those with the sign `own` none counts.
  heirs: (words, own = [0, 0], dying = 0) => SabfsWatch.living(words, dying).some((at) =>
    Atomics.load(words, at + SabfsWatch.HEIR) &&
    !SabfsWatch.isSame(own, [Atomics.load(words, at + 1), Atomics.load(words, at + 2)])),

  // Whether two signs are of the same owner. That of a lock may have been asked for when the one was read, and held later.
  isSame: (one, other) => one[0] != 0 && one[1] == other[1] && (one[0] == other[0] || (other[0] & 3) != SabfsWatch.THREAD),

  // Resolves when nobody holds the locks any more.
  async lost(kind, token, signal) {
    const name = SabfsWatch.lockName(token), locks = navigator['locks'];
    let seen = kind == SabfsWatch.LOCK;
    for (let tries = 0; tries < 4; tries++) {
      for (;;) {
        const {'held': held, 'pending': pending} = await locks['query']();
        const lock = [...held, ...pending].find((lock) => lock.name == name || lock.name.startsWith(`${name}/`));
        if (!lock) break;
        seen = true;
        await locks.request(lock.name, signal ? {'signal': signal} : {}, () => {});
      }
      if (seen) return;
      // Asked for, and not known to the browser yet.
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  },

  // Watches over the clients of the store of these words, as long as isHost() says so, but for those with the sign `own`;
  // bury(slot, serial) is called when one has died, or is found dead. isAside() says that nobody may be waited for. Gives look(),
  // to be called every now and then: tells the time until it has to be again.
  over(words, bury, own, isHost, isAside) {
    // The serial number of the client that is watched over, or that is known to be dead, by its slot.
    const known = new Map(), dead = new Map();
    // Ends all waiting.
    let stop = new AbortController();
    // Whether there is one of which nobody tells.
    let polls = false;
    const visit = (slot, word) => {
      const at = SabfsWatch.CLIENTS + (slot - 1) * SabfsWatch.CLIENT_WORDS, serial = word >>> 2;
      if ((word & 3) == SabfsWatch.DEAD) {
        // It said so itself, or somebody else did.
        if (dead.get(slot) != serial) bury(slot, serial);
        dead.set(slot, serial);
        return;
      }
      const kind = Atomics.load(words, at + 1), detail = Atomics.load(words, at + 2);
      // The slot may have got another client meanwhile.
      if (!kind || Atomics.load(words, at) != word) return;
      if (SabfsWatch.isSame(own, [kind, detail])) {
        Atomics.store(words, at + SabfsWatch.HEIR, 1);
        return;
      }
      if (!isHost()) return;
      if ((kind & 3) == SabfsWatch.THREAD) {
        polls = true;
        if (SabfsWatch.startOf(kind >>> 2) !== detail) bury(slot, serial);
      } else if (known.get(slot) != serial) {
        known.set(slot, serial);
        const forget = () => {
          if (known.get(slot) == serial) known.delete(slot);
        };
        SabfsWatch.lost(kind, detail, stop.signal).then(() => bury(slot, serial), forget);
      }
    };
    return () => {
      polls = false;
      if (isAside()) {
        stop.abort();
        stop = new AbortController();
        known.clear();
        return 1000;
      }
      for (let slot = 1; slot <= SabfsWatch.CLIENTS_MAX; slot++) {
        const word = Atomics.load(words, SabfsWatch.CLIENTS + (slot - 1) * SabfsWatch.CLIENT_WORDS);
        if (word & 3) visit(slot, word);
      }
      return polls ? 30 : 1000;
    };
  },
};
