// The durable files of a volume: OPFS access handles in a browser's dedicated worker, files in Node.
//
// Used in two places: in the keeper's worker, and in a program that is its own keeper. A volume's folder holds
// `image` and `journal`; in Node also `lock`, which names the owner as src/persist/folder.rs says.
const SabfsDevices = {
  isNode: typeof process == 'object' && !!process.versions?.node && process.type != 'renderer',

  // How long to wait for access handles that the worker of a closed page holds: Chromium takes about two seconds
  // to end a worker that waits.
  PATIENCE_MS: 5000,

  // Linux's number for an error of OPFS or Node. A DOMException's code is a number that says nothing here.
  errno(error) {
    const numbers = {
      'EACCES': 13, 'EBUSY': 16, 'EDQUOT': 122, 'EFBIG': 27, 'ENOSPC': 28, 'EPERM': 1, 'EROFS': 30,
      'ENOENT': 2, 'ENOTDIR': 20, 'EISDIR': 21, 'ENFILE': 23, 'EMFILE': 24,
      'NotAllowedError': 13, 'NotFoundError': 2, 'QuotaExceededError': 122, 'SecurityError': 13,
      'NoModificationAllowedError': 16,
      // Firefox, for the quota and the disk alike.
      'NS_ERROR_FILE_NO_DEVICE_SPACE': 122,
    };
    return numbers[error['code']] ?? numbers[error['name']] ?? 5;
  },

  // An error for whoever asked for the mount: its code is the POSIX word.
  fail(code, message) {
    return Object.assign(new Error(message), {'code': code});
  },

  // Resolves with {files: [image, journal], close}. Each file has size, read, write, setSize and flush, which
  // throw what the platform throws. With `readOnly` nothing is made and nothing can be written. `follows`: this
  // program has the volume, and whoever had its files open for it may have died.
  open(volume, folder, readOnly, follows) {
    return SabfsDevices.isNode ? SabfsDevices.openNode(volume, folder, readOnly, follows)
      : SabfsDevices.openOpfs(volume, readOnly);
  },

  nothing: () => SabfsDevices.fail('ENOENT', 'there is no such volume, and readOnly forbids to make one'),

  async openOpfs(volume, readOnly) {
    const fail = SabfsDevices.fail, create = {'create': !readOnly};
    let directory;
    try {
      const root = await navigator['storage']['getDirectory']();
      const all = await root['getDirectoryHandle']('sabfs', create);
      directory = await all['getDirectoryHandle'](volume, create);
    } catch (error) {
      if (readOnly && error.name == 'NotFoundError') throw SabfsDevices.nothing();
      // Firefox says nothing but UnknownError when not even its list of the files finds room.
      const room = await navigator['storage']['estimate']().catch(() => ({}));
      if (SabfsDevices.errno(error) == 122 || room['quota'] - room['usage'] < 1 << 20) {
        throw fail('EDQUOT', 'the quota of this origin is used up');
      }
      throw fail('EOPNOTSUPP', `this browser gives no private file system here, as in a private window (${error.name}` +
        `: ${error.message}): set durability: "memory"`);
    }
    const handles = [];
    const close = () => {
      for (const handle of handles) handle.close();
    };
    try {
      const end = performance.now() + SabfsDevices.PATIENCE_MS;
      for (const name of ['image', 'journal']) {
        const file = await directory['getFileHandle'](name, create).catch((error) => {
          throw readOnly && error.name == 'NotFoundError' ? SabfsDevices.nothing() : error;
        });
        if (!file['createSyncAccessHandle']) {
          throw fail('EOPNOTSUPP', 'this browser has no synchronous access to files here: it has to be newer, and ' +
            'this has to run in a dedicated worker; or set durability: "memory"');
        }
        for (;;) {
          try {
            // Where modes are not known the handle could write as well.
            handles.push(await file['createSyncAccessHandle']({'mode': readOnly ? 'read-only' : 'readwrite'}));
            break;
          } catch (error) {
            if (error.name != 'NoModificationAllowedError') throw error;
            if (performance.now() > end) {
              throw fail('EBUSY', 'it is open elsewhere: close the other tab or program that uses it');
            }
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        }
      }
    } catch (error) {
      close();
      throw error;
    }
    const files = handles.map((handle) => ({
      size: () => handle['getSize'](),
      read: (view, at) => handle.read(view, {'at': at}),
      write: (view, at) => {
        const count = handle.write(view, {'at': at});
        // Chromium throws when the quota is used up, Firefox writes nothing.
        if (!count && view.length) throw SabfsDevices.fail('EDQUOT', 'the quota of this origin is used up');
        return count;
      },
      setSize: (size) => handle.truncate(size),
      flush: () => handle.flush(),
    }));
    return {files, close};
  },

  async openNode(volume, parent, readOnly, follows) {
    if (!process['getBuiltinModule']) throw SabfsDevices.fail('EOPNOTSUPP', 'Node is too old: use 20.16 or newer');
    const fs = process['getBuiltinModule']('node:fs');
    const path = process['getBuiltinModule']('node:path'), folder = path.resolve(parent, volume);
    const descriptors = [];
    let unlock = () => {};
    const close = () => {
      for (const descriptor of descriptors.splice(0)) fs.closeSync(descriptor);
      unlock();
    };
    try {
      // The first folder that had to be made.
      let made;
      if (!readOnly) made = fs.mkdirSync(folder, {recursive: true});
      else if (!fs.existsSync(`${folder}/journal`)) throw SabfsDevices.nothing();
      unlock = SabfsDevices.lock(fs, folder, follows);
      for (const name of ['image', 'journal']) {
        const flags = readOnly ? fs.constants.O_RDONLY : fs.constants.O_RDWR | fs.constants.O_CREAT;
        descriptors.push(fs.openSync(`${folder}/${name}`, flags, 0o666));
      }
      if (!readOnly) SabfsDevices.syncNames(fs, path, folder, made);
    } catch (error) {
      close();
      throw error;
    }
    const files = descriptors.slice().map((descriptor) => ({
      size: () => fs.fstatSync(descriptor).size,
      read: (view, at) => fs.readSync(descriptor, view, 0, view.length, at),
      write: (view, at) => fs.writeSync(descriptor, view, 0, view.length, at),
      setSize: (size) => fs.ftruncateSync(descriptor, size),
      flush: () => fs.fdatasyncSync(descriptor),
    }));
    return {files, close};
  },

  // What is flushed to a file is not durable before its name is, and those of the folders that it is in.
  syncNames(fs, path, folder, made) {
    // Windows opens no folder.
    if (process.platform == 'win32') return;
    const last = made ? path.dirname(made) : folder;
    for (let at = folder; ; at = path.dirname(at)) {
      const descriptor = fs.openSync(at, fs.constants.O_RDONLY);
      try {
        fs.fsyncSync(descriptor);
      } catch (error) {
        // A host that does not know this for folders promises what it promises.
        if (!['EINVAL', 'ENOTSUP'].includes(error.code)) throw error;
      } finally {
        fs.closeSync(descriptor);
      }
      if (at == last) return;
    }
  },

  // When a process began, or a thread of this one, in the host's words; null when there is none.
  startOf(fs, pid, thread) {
    if (process.platform == 'linux') {
      try {
        const stat = fs.readFileSync(thread ? `/proc/self/task/${thread}/stat` : `/proc/${pid}/stat`, 'latin1');
        // The second field is the program's name in brackets and may itself hold brackets and spaces.
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        // Counted from the start of the machine, of which there may have been several since the lock was taken.
        const boot = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
        return 'ZX'.includes(fields[0]) ? null : `${fields[19]} ${boot}`;
      } catch {
        return null;
      }
    }
    const ps = process['getBuiltinModule']('node:child_process').spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      env: {...process.env, 'LC_ALL': 'C'}, encoding: 'utf8',
    });
    return (ps.stdout || '').trim() || null;
  },

  // This thread's number and start, which are in the lock for those of the same process; nothing where there is no /proc.
  thisThread(fs) {
    if (process.platform != 'linux') return {};
    const thread = Number(fs.readlinkSync('/proc/thread-self').split('/').pop());
    return {'thread': thread, 'threadStart': SabfsDevices.startOf(fs, process.pid, thread)};
  },

  // Takes the folder's lock, or takes it over from a thread of this process; gives what gives it back.
  lock(fs, folder, follows) {
    const lock = `${folder}/lock`, unique = `${process.pid}.${process['getBuiltinModule']('node:worker_threads').threadId}`;
    const mine = `${lock}.${unique}`, aside = `${lock}.stale.${unique}`;
    const own = {'pid': process.pid, 'start': SabfsDevices.startOf(fs, process.pid) ?? ''};
    const line = JSON.stringify({...own, ...SabfsDevices.thisThread(fs)}) + '\n';
    // The owner's process number, 0 when it is unknown, or null when the lock is stale.
    const holder = (path) => {
      let owner;
      try {
        owner = JSON.parse(fs.readFileSync(path, 'utf8'));
      } catch (error) {
        if (error.code) throw error;
        // Half a line: somebody died while writing it, unless it is quite new.
        return Date.now() - fs.statSync(path).mtimeMs < 5000 ? 0 : null;
      }
      if (SabfsDevices.startOf(fs, owner['pid']) !== owner['start']) return null;
      // A worker of this process that was ended with all that it had.
      const {'thread': thread, 'threadStart': start} = owner['pid'] == own['pid'] ? owner : {};
      return thread && SabfsDevices.startOf(fs, own['pid'], thread) !== start ? null : owner['pid'];
    };
    const isOurs = () => {
      try {
        const owner = JSON.parse(fs.readFileSync(lock, 'utf8'));
        return owner['pid'] == own['pid'] && owner['start'] == own['start'];
      } catch (error) {
        if (error.code) throw error;
        return false;
      }
    };
    const busy = (pid) => SabfsDevices.fail('EBUSY',
      `${folder} is open in ${pid ? `process ${pid}` : 'another process'}: end that process, or use another volume`);
    const link = () => {
      try {
        // Fails if the name exists: of several processes one succeeds.
        fs.linkSync(mine, lock);
        return true;
      } catch (error) {
        if (error.code != 'EEXIST') throw error;
        return false;
      }
    };
    // An empty lock that a failure of the power has left would be anybody's, for a while.
    fs.writeFileSync(mine, line, {'flush': true});
    try {
      for (let attempt = 0; !link(); attempt++) {
        let pid;
        try {
          if (follows && isOurs()) {
            fs.renameSync(mine, lock);
            break;
          }
          pid = holder(lock);
          if (pid !== null || attempt > 8) throw busy(pid);
          fs.renameSync(lock, aside);
          // If it is not the stale one any more it goes back, unless somebody was faster.
          if (holder(aside) !== null) fs.linkSync(aside, lock);
          fs.unlinkSync(aside);
        } catch (error) {
          if (error.code != 'ENOENT' && error.code != 'EEXIST') throw error;
        }
      }
    } finally {
      fs.rmSync(mine, {'force': true});
    }
    return () => {
      try {
        if (fs.readFileSync(lock, 'utf8') == line) fs.unlinkSync(lock);
      } catch {
        // It is gone, or the next opener finds it stale.
      }
    };
  },

  // The imports sabfs_device_*. `device` gives the open device, `bytes` a view of the module's memory.
  imports(device, bytes) {
    const guard = (operation) => {
      try {
        return operation() ?? 0;
      } catch (error) {
        return -SabfsDevices.errno(error);
      }
    };
    return {
      size: (file) => guard(() => device().files[file].size()),
      read: (file, at, start, count) => guard(() => device().files[file].read(bytes(start, count), at)),
      write: (file, at, start, count) => guard(() => device().files[file].write(bytes(start, count), at)),
      setSize: (file, size) => guard(() => device().files[file].setSize(size)),
      flush: (file) => guard(() => device().files[file].flush()),
    };
  },
};
