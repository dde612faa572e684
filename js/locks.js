// Advisory locks of open files, the same ones as programs have: bytes as by fcntl(), whole files as by flock(). They belong to the
// handle and go when it is closed, or with this client.
const LOCK_EXCLUSIVE = 1, LOCK_WHOLE_FILE = 2;
// ETIMEDOUT
const TIMED_OUT = 110;
// How long one sleep lasts at most: who has a lock may die, and wake-ups may be lost.
const LOCK_SLICE_MS = 50;

// What is asked for: flags, start and length.
function bytesLock({ shared = false, start = 0, length = 0 } = {}) {
  return [shared ? 0 : LOCK_EXCLUSIVE, positionOf(start), positionOf(length)];
}

function fileLock({ shared = false } = {}) {
  return [LOCK_WHOLE_FILE | (shared ? 0 : LOCK_EXCLUSIVE), 0, 0];
}

// How long to wait; -1: as long as it takes.
function timeoutOf({ timeout = Infinity } = {}) {
  if (typeof timeout != 'number' || !(timeout >= 0)) throw invalid(`the timeout has to be in milliseconds, not ${timeout}`);
  return Math.min(timeout, 0xffff_ffff) == timeout ? timeout : -1;
}

const tryLock = (n, handle, lock) => n.check(n.x.sabfs_page_try_lock(handleOf(handle), ...lock)) == 1;

// Each comes back at once.
const LOCKING = {
  tryLock: (n, handle, options) => tryLock(n, handle, bytesLock(options)),
  tryFlock: (n, handle, options) => tryLock(n, handle, fileLock(options)),
  unlock(n, handle, options) { n.check(n.x.sabfs_page_unlock(handleOf(handle), ...bytesLock(options))); },
  funlock(n, handle) { n.check(n.x.sabfs_page_unlock(handleOf(handle), ...fileLock())); },
  // The first lock in the way of such a one.
  testLock(n, handle, options) {
    if (!n.check(n.x.sabfs_page_test_lock(handleOf(handle), ...bytesLock(options)))) return null;
    const [exclusive, start, length, pid] = n.numbers(4);
    return { shared: !exclusive, start, length, pid };
  },
};

// A call that waits for a lock: in place where the thread may sleep, and by a promise.
const waitingFor = (lockOf) => ({
  step(n, handle, options) {
    const lock = lockOf(options), timeout = timeoutOf(options);
    if (CAN_BLOCK) n.check(n.x.sabfs_page_lock(handleOf(handle), ...lock, timeout));
    else if (!tryLock(n, handle, lock)) throw new Refused(EAGAIN);
  },

  async later(files, handle, options) {
    const { host, native, native: { x } } = files, lock = lockOf(options), timeout = timeoutOf(options);
    const request = native.check(host.guarded(() => x.sabfs_page_lock_begin(handleOf(handle), ...lock)));
    const end = timeout < 0 ? Infinity : performance.now() + timeout;
    let slept = 0;
    try {
      for (;;) {
        let word, value;
        const status = await host.patiently(() => {
          const status = x.sabfs_page_lock_poll(request, slept);
          // At once, as others' calls give numbers, too.
          if (status == 1) [word, value] = native.numbers(2);
          return status;
        });
        if (native.check(status) == 0) return;
        const begun = performance.now();
        if (begun >= end) throw new Refused(TIMED_OUT);
        await host.sleep(word, value, Math.min(LOCK_SLICE_MS, end - begun));
        slept = Math.max(1, performance.now() - begun);
      }
    } finally {
      // Who leaves the store has no requests there any more.
      if (!files.closed) {
        await host.patiently(() => x.sabfs_page_lock_end(request));
        files.settle();
      }
    }
  },
});

const LOCKING_LATER = { lock: waitingFor(bytesLock), flock: waitingFor(fileLock) };
