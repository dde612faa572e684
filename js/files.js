// Steps done at once, or as soon as nobody is in the way.
class Files {
  constructor(host) {
    this.host = host;
    this.native = new Native(host);
    this.watchers = new Set();
    this.closed = false;
    this.settling = false;
  }

  // At once: a thread that may sleep waits, a page's main thread spins for a moment and then gives EAGAIN.
  now(name, args) {
    const { host } = this;
    try {
      this.use(name);
      host.alive();
      host.now();
      const operation = OPERATIONS[name];
      if (CAN_BLOCK && operation.step) return operation.step(this.native, ...args);
      return this.#now(operation, args);
    } catch (error) {
      throw this.told(host.mourned(error), name, args);
    }
  }

  #now({ step, steps, syncs, changes }, args) {
    const call = () => {
      if (steps) return drive(steps(...args), (name, given) => OPERATIONS[name].step(this.native, ...given));
      if (!syncs) return step(this.native, ...args);
      const begun = performance.now(), status = syncs(this.native, ...args);
      this.#noteSync(status, begun);
      return void this.native.check(status);
    };
    if (CAN_BLOCK) return call();
    try {
      return changes ? this.#keeping(call) : call();
    } finally {
      this.settle();
    }
  }

  // Runs steps under one taking of the gate.
  #keeping(call) {
    const { native, native: { x } } = this;
    native.check(x.sabfs_page_keep_gate());
    let failed = false;
    try {
      return call();
    } catch (error) {
      // What the module has left half done is for others to complete, who inherit the gate.
      failed = error instanceof WebAssembly.RuntimeError;
      throw error;
    } finally {
      if (!failed) x.sabfs_page_give_gate();
    }
  }

  // Without ever waiting in place.
  async later(name, args) {
    try {
      this.use(name);
      const operation = OPERATIONS[name];
      if (operation.later) return await operation.later(this, ...args);
      return await (operation.steps ? driveLater(operation.steps(...args), (step, given) => this.#later(OPERATIONS[step], given))
        : this.#later(operation, args));
    } catch (error) {
      throw this.told(error, name, args);
    }
  }

  async #later({ step, syncs, changes }, args) {
    const { host, native } = this;
    if (syncs) {
      const begun = performance.now();
      let status = -1;
      try {
        status = await host.patiently(() => syncs(native, ...args), true);
      } finally {
        if (!this.closed) this.#noteSync(status, begun);
      }
      return void native.check(status);
    }
    let result;
    const call = () => step(native, ...args);
    const status = await host.patiently(() => {
      try {
        result = changes ? this.#keeping(call) : call();
        return 0;
      } catch (error) {
        if (error instanceof Refused) return -error.errno;
        throw error;
      }
    });
    this.settle();
    native.check(status);
    return result;
  }

  #noteSync(status, begun) {
    this.native.x.sabfs_page_note_sync(status == 0 ? 1 : 0, (performance.now() - begun) * 1000);
  }

  // Gives back what a closed handle held, now or when nobody is in the way.
  settle() {
    if (this.settling || this.closed) return;
    const { host, native: { x } } = this;
    host.never(-1);
    if (x.sabfs_page_settle_late() != -EAGAIN) return;
    this.settling = true;
    host.patiently(() => x.sabfs_page_settle_late())
      // What cannot be given back goes when this client leaves.
      .catch(() => {})
      .finally(() => { this.settling = false; });
  }

  use(name) {
    if (this.closed) throw new SABFSError('ENODEV', `SABFS: cannot ${name}: it has left the store`, { syscall: name });
  }

  // The error as others see it.
  told(error, name, args) {
    if (!(error instanceof Refused)) return error;
    const { name: code, text } = this.native.error(error.errno);
    const [path, other] = args.filter((arg, index) => index < 2 && (typeof arg == 'string' || ArrayBuffer.isView(arg) || index == 0));
    const two = ['rename', 'link', 'symlink'].includes(name);
    const what = path === undefined ? '' : ` ${quoted(path)}${two && other !== undefined ? ` to ${quoted(other)}` : ''}`;
    const why = error.errno == EAGAIN && !CAN_BLOCK
      ? `others are at work at this moment, and a page's main thread must not wait for them: await promises.${name}()` : text;
    const more = { errno: -error.errno, syscall: name };
    if (typeof path != 'number' && path !== undefined) more.path = path;
    if (two) more.dest = other;
    return new SABFSError(code, `SABFS: cannot ${name}${what}: ${why}`, more);
  }
}

// Runs a generator of steps.
function drive(steps, run) {
  let next = steps.next();
  while (!next.done) {
    let result;
    try {
      result = run(next.value[0], next.value.slice(1));
    } catch (error) {
      next = steps.throw(error);
      continue;
    }
    next = steps.next(result);
  }
  return next.value;
}

async function driveLater(steps, run) {
  let next = steps.next();
  while (!next.done) {
    let result;
    try {
      result = await run(next.value[0], next.value.slice(1));
    } catch (error) {
      next = steps.throw(error);
      continue;
    }
    next = steps.next(result);
  }
  return next.value;
}

// What is offered both ways, but for watch(), which gives something else than its step.
const OFFERED = Object.keys(OPERATIONS).filter((name) => name != 'watch');

// Gives a class these methods; what(this) has the files.
function offer(type, call) {
  for (const name of OFFERED) {
    if (name in type.prototype) throw new Error(`${type.name} has ${name} twice`);
    const method = { [name](...args) { return call(this, name, args); } }[name];
    Object.defineProperty(type.prototype, name, { value: method, writable: true, configurable: true });
  }
}

function watching(files, path, options, callback) {
  const given = typeof options == 'function' ? [{}, options] : [options ?? {}, callback];
  if (typeof given[1] != 'function') throw invalid('watch() needs a function to call');
  return { args: [path, given[0]], make: (number) => new Watcher(files, number, given[1], given[0].persistent !== false) };
}

/** The same operations by promises, for threads that must not wait. */
class Promises {
  #files;

  constructor(files) {
    this.#files = files;
  }

  async watch(path, options, callback) {
    const { args, make } = watching(this.#files, path, options, callback);
    return make(await this.#files.later('watch', args));
  }

  static {
    offer(this, (self, name, args) => self.#files.later(name, args));
  }
}
