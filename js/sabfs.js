/**
 * A store with a mounted volume, and the file system in it. The methods are those of Node's `fs` without `Sync` in their names
 * (index.d.ts has all of them); `promises` has them by promises.
 */
class SABFS {
  #host;
  #shown;
  #files;
  #promises;
  #leaving = null;

  constructor(host, shown) {
    if (typeof host?.mount != 'function') throw new TypeError('use SABFS.create(), SABFS.open() or SABFS.attach()');
    this.#host = host;
    this.#shown = shown;
    this.#files = new Files(host);
    this.#promises = new Promises(this.#files);
  }

  /** Makes a store and opens a volume into it, which is made if it is not there. */
  static create(options = {}) {
    return SABFS.#make(options, 'make a store');
  }

  /** As create(), for a volume that is there; ENOENT if it is not. */
  static open(options = {}) {
    return SABFS.#make(options, 'open a volume', true);
  }

  /** Attaches to a store with a volume: one that create() or open() gave, or a program's. */
  static attach(store, options = {}) {
    return SABFS.#make({ ...options, store }, 'attach to a store', false, true);
  }

  static async #make(options, doing, exists = false, attach = false) {
    if (options && typeof options == 'object' && 'path' in options) {
      throw invalid(`cannot ${doing}: there is no option "path" here, as a volume is not mounted below one`);
    }
    const host = makeHost(options);
    const checked = host.check(options, doing);
    if (exists) await demandVolume(host, checked, doing);
    try {
      await host.load();
      if (attach && !host.isUsed()) {
        throw host.make('ENODEV', doing, 'no volume is mounted in it: SABFS.create({store}) mounts one');
      }
      return new SABFS(host, await host.mount());
    } catch (error) {
      host.leave();
      throw error;
    }
  }

  /** The store, to be handed to others: a shared WebAssembly.Memory, or the SharedArrayBuffer that was given. */
  get store() {
    return this.#shown.store;
  }

  /** The volume's name. */
  get volume() {
    return this.#shown.name;
  }

  /** How the store is reached: 'two-memory', 'one-memory' or 'javascript'. */
  get access() {
    return this.#shown.access;
  }

  /** The same operations by promises. */
  get promises() {
    return this.#promises;
  }

  /** How large and how full the volume is, and what is not on the device yet. */
  stats() {
    this.#files.use('stats');
    return this.#shown.stats();
  }

  /** What the volume has done since it was mounted. */
  metrics() {
    this.#files.use('metrics');
    return this.#shown.metrics();
  }

  /** Whether the browser keeps the origin's data; null where there is nobody to say. */
  persisted() {
    return this.#shown.persisted();
  }

  /** Watches what a path leads to: callback(event) is called for what is changed from now on. */
  watch(path, options, callback) {
    const { args, make } = watching(this.#files, path, options, callback);
    return make(this.#files.now('watch', args));
  }

  /** Makes everything durable and leaves the store; who has made it closes the volume's files, too. */
  detach() {
    this.#leaving ??= this.#leave();
    return this.#leaving;
  }

  async #leave() {
    for (const watcher of [...this.#files.watchers]) watcher.close();
    this.#files.closed = true;
    await this.#shown.unmount();
  }

  [Symbol.asyncDispose ?? Symbol('asyncDispose')]() {
    return this.detach();
  }

  static {
    offer(this, (self, name, args) => self.#files.now(name, args));
  }
}

// Fails unless the volume has files.
async function demandVolume(host, { volume, folder, durability }, doing) {
  if (durability == 'memory') throw host.make('EINVAL', doing, 'a volume in memory has no files to be opened: use create()');
  const missing = (why) => host.make('ENOENT', `open the volume "${volume}"`, `${why}: SABFS.create() makes it`);
  if (IS_NODE) {
    const file = process.getBuiltinModule('node:path').resolve(folder, volume, 'journal');
    if (!process.getBuiltinModule('node:fs').existsSync(file)) throw missing(`there is no ${file}`);
    return;
  }
  try {
    let directory = await navigator.storage.getDirectory();
    for (const name of ['sabfs', volume]) directory = await directory.getDirectoryHandle(name);
    await directory.getFileHandle('journal');
  } catch (error) {
    if (error.name == 'NotFoundError') throw missing('there is no such volume in this origin');
    throw host.make('EOPNOTSUPP', doing, `this browser gives no private file system here (${error.name}: ${error.message})`);
  }
}
