const CHANGES = { 1: 'create', 2: 'delete', 3: 'modify', 4: 'attrib', 5: 'rename', 6: 'overflow' };
// Events that are told in a row before the page gets a turn.
const IN_A_ROW = 256;

// What an event's path is: a string, unless it is not valid UTF-8.
function pathText(bytes) {
  try {
    return decoded(bytes);
  } catch {
    return bytes;
  }
}

/** Tells of what changes, until it is closed. */
class Watcher {
  #files;
  #number;
  #callback;
  #persistent;

  constructor(files, number, callback, persistent) {
    this.#files = files;
    this.#number = number;
    this.#callback = callback;
    this.#persistent = persistent;
    files.watchers.add(this);
    this.#run().catch((error) => {
      if (this.#number < 0) return;
      this.close();
      this.#tell({ type: 'error', error: files.told(error, 'watch', []) });
    });
  }

  /** Ends the watch; the callback is not called any more. */
  close() {
    if (this.#number < 0) return;
    const number = this.#number;
    this.#number = -1;
    this.#files.watchers.delete(this);
    try {
      this.#files.host.guarded(() => this.#files.native.x.sabfs_page_unwatch(number));
    } catch {
      // A module that has failed watches nothing any more.
    }
  }

  async #run() {
    const { host, native } = this.#files, { x } = native;
    for (let count = 1; this.#number >= 0; count++) {
      if (count % IN_A_ROW == 0) await new Promise((resolve) => setTimeout(resolve));
      if (this.#number < 0) return;
      const next = () => x.sabfs_page_watch_next(this.#number);
      let length = host.guarded(() => {
        host.never(-1);
        return next();
      });
      if (length == -EAGAIN) length = await host.patiently(next);
      if (this.#number < 0) return;
      if (native.check(length)) {
        this.#tell(this.#event(native.output(length)));
        continue;
      }
      const asleep = host.guarded(() => x.sabfs_page_watch_sleep(this.#number));
      if (!native.check(asleep)) continue;
      const [word, value] = native.numbers(2);
      await host.sleep(word, value, 1000, !this.#persistent);
    }
  }

  #event(bytes) {
    const view = new DataView(bytes.buffer), length = view.getUint16(2, true), type = CHANGES[bytes[0]];
    if (type == 'overflow') return { type };
    const event = {
      type,
      path: pathText(bytes.slice(12, 12 + length)),
      kind: KINDS[bytes[1]],
      ino: view.getUint32(4, true),
      own: view.getUint32(8, true) == this.#files.host.slot,
    };
    if (type == 'rename') event.from = pathText(bytes.slice(12 + length));
    return event;
  }

  // What goes wrong in the callback is not the watcher's business.
  #tell(event) {
    try {
      this.#callback(event);
    } catch (error) {
      setTimeout(() => { throw error; });
    }
  }
}
