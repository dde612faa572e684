// What a page or a worker does in a folder of its own by the package for JavaScript, and what it learns of another's by watching.
// Runs in Node and in browsers.
const FOLDERS = ['a', 'b'], FILES = 12, SIZE_MAX_BYTES = 30_000;

/** What a file of a version has at each place. */
function bytesOf({ version, size }) {
  return new Uint8Array(size).map((_, at) => version * 31 + at % 251);
}

function demand(truth, what) {
  if (!truth) throw new Error(what);
}

/** Demands that a folder has these files and no others: [name, {version, size}] each. `fs`: the calls, or those by promises. */
export async function verify(fs, home, known) {
  const names = new Set();
  for (const folder of FOLDERS) for (const name of await fs.readdir(`${home}/${folder}`)) names.add(`${folder}/${name}`);
  for (const [name, file] of known) {
    demand(names.delete(name), `${home}/${name} is not there`);
    const found = await fs.readFile(`${home}/${name}`), wanted = bytesOf(file);
    demand(found.length == wanted.length, `${home}/${name} has ${found.length} bytes, not ${wanted.length}`);
    const wrong = found.findIndex((byte, at) => byte != wanted[at]);
    demand(wrong < 0, `byte ${wrong} of ${home}/${name} is ${found[wrong]}, not ${wanted[wrong]}`);
  }
  demand(names.size == 0, `${[...names]} in ${home} should not be there`);
}

/** A number that several count on together, each from what the others have left, under a lock on its bytes. */
export class Counter {
  #fs;
  #handle;
  steps = 0;

  constructor(fs, handle) {
    this.#fs = fs;
    this.#handle = handle;
  }

  /** A file with 0 in it. */
  static async make(fs, path) {
    await fs.writeFile(path, new Uint32Array(1));
  }

  static async open(fs, path) {
    return new Counter(fs, await fs.open(path, 'r+'));
  }

  async add() {
    const bytes = { start: 0, length: 4 }, number = new Uint32Array(1);
    await this.#fs.lock(this.#handle, bytes);
    try {
      demand(await this.#fs.pread(this.#handle, number) == 4, 'the number is not there');
      number[0]++;
      await this.#fs.pwrite(this.#handle, number);
    } finally {
      await this.#fs.unlock(this.#handle, bytes);
    }
    this.steps++;
  }

  close() {
    return this.#fs.close(this.#handle);
  }
}

/** Works in a folder of its own at random, and knows what has to be there. */
export class Actor {
  #fs;
  #home;
  #random;
  #files = new Map();
  #versions = 0;
  steps = 0;

  /** fs: the calls of a volume, or those by promises. random: gives numbers from 0 to 1. */
  constructor(fs, home, random) {
    this.#fs = fs;
    this.#home = home;
    this.#random = random;
  }

  /** Makes a home with nothing in it. */
  static async makeHome(fs, home) {
    for (const folder of FOLDERS) await fs.mkdir(`${home}/${folder}`, { recursive: true });
  }

  /** What verify() has to find. */
  get known() {
    return [...this.#files];
  }

  #below(limit) {
    return Math.floor(this.#random() * limit);
  }

  #anyName() {
    return `${FOLDERS[this.#below(FOLDERS.length)]}/${this.#below(FILES)}`;
  }

  async #write(name) {
    const file = { version: this.#versions++ & 0xff, size: this.#below(this.#below(3) ? 3000 : SIZE_MAX_BYTES) };
    await this.#fs.writeFile(`${this.#home}/${name}`, bytesOf(file));
    this.#files.set(name, file);
  }

  async #append(name, file) {
    const size = Math.min(file.size + this.#below(4000), SIZE_MAX_BYTES);
    await this.#fs.appendFile(`${this.#home}/${name}`, bytesOf({ ...file, size }).subarray(file.size));
    file.size = size;
  }

  // Over whatever is there.
  async #rename(name, file) {
    const to = this.#anyName();
    await this.#fs.rename(`${this.#home}/${name}`, `${this.#home}/${to}`);
    this.#files.delete(name);
    this.#files.set(to, file);
  }

  async #cut(name, file) {
    const size = this.#below(file.size + 1);
    await this.#fs.truncate(`${this.#home}/${name}`, size);
    file.size = size;
  }

  async #remove(name) {
    await this.#fs.unlink(`${this.#home}/${name}`);
    this.#files.delete(name);
  }

  async #sync(name) {
    const handle = await this.#fs.open(`${this.#home}/${name}`, 'r+');
    try {
      await this.#fs.fsync(handle);
    } finally {
      await this.#fs.close(handle);
    }
  }

  /** One operation. */
  async step() {
    this.steps++;
    const name = this.#anyName(), file = this.#files.get(name);
    if (!file) return this.#write(name);
    switch (this.#below(40)) {
      case 0: return this.#sync(name);
      case 1: case 2: return verify(this.#fs, this.#home, this.known);
      default:
    }
    switch (this.#below(6)) {
      case 0: return this.#write(name);
      case 1: return this.#append(name, file);
      case 2: return this.#cut(name, file);
      case 3: return this.#remove(name);
      default: return this.#rename(name, file);
    }
  }
}

/** The names below a folder as its watcher knows them: what was there, and each event from then on. */
export class Mirror {
  #volume;
  #home;
  #names = new Map();
  #stale = false;
  #failure = null;
  events = 0;
  overflows = 0;

  constructor(volume, home) {
    this.#volume = volume;
    this.#home = home;
  }

  /** Begins to watch. */
  static async watch(volume, home) {
    const self = new Mirror(volume, home);
    self.watcher = await volume.promises.watch(home, { recursive: true }, (event) => self.#take(event));
    self.#names = await self.#look();
    return self;
  }

  async #look() {
    const names = new Map(), { promises } = this.#volume;
    for (const folder of FOLDERS) {
      for (const { name, ino } of await promises.readdir(`${this.#home}/${folder}`, { withFileTypes: true })) {
        names.set(`${folder}/${name}`, ino);
      }
    }
    return names;
  }

  #take({ type, path, from, kind, ino, error }) {
    this.events++;
    if (type == 'error') this.#failure = error;
    if (type == 'overflow') {
      this.overflows++;
      this.#stale = true;
    }
    if (kind != 'file') return;
    const forget = (name) => {
      if (this.#names.get(name) == ino) this.#names.delete(name);
    };
    if (type == 'rename') forget(from);
    if (type == 'delete') forget(path);
    if (type == 'create' || type == 'rename') this.#names.set(path, ino);
  }

  /** Resolves when the watcher knows what is there, with nobody at work in it any more. */
  async settle(limitMs) {
    const end = performance.now() + limitMs, shown = (names) => JSON.stringify([...names].sort());
    for (;;) {
      if (this.#failure) throw this.#failure;
      const there = await this.#look();
      // Who was overtaken looks at everything again.
      if (this.#stale) this.#names = new Map(there);
      this.#stale = false;
      if (shown(there) == shown(this.#names)) return;
      if (performance.now() > end) throw new Error(`the watcher of ${this.#home} knows ${shown(this.#names)}, not ${shown(there)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
