// What Module.sabfs and Module.mountSABFS() take, checked before anything is done.
addToLibrary({
  $SABFSOptions__deps: ['$SABFSErrors'],
  $SABFSOptions: {
    CAPACITY: 1 << 30,
    CAPACITY_MIN: 1 << 20,
    // A memory has at most 4 GiB, of which the runtime region takes some.
    CAPACITY_MAX: 2 ** 32 - (2 << 20),
    DURABILITIES: ['strict', 'relaxed', 'memory'],

    isCapacity: (value) =>
      Number.isInteger(value) && value >= SABFSOptions.CAPACITY_MIN && value <= SABFSOptions.CAPACITY_MAX,
    capacityOr: (value) => SABFSOptions.isCapacity(value) ? value : SABFSOptions.CAPACITY,

    // Pages of a memory that has room for a volume of so many bytes: store_size_bytes() of src/store/runtime.rs,
    // which cannot be asked yet, as the program does not run.
    storePages(capacity) {
      var runtime = 32768 + 64 * 16384 + 8192 * 16, blocks = Math.floor(capacity / 4096);
      var bitmap = Math.ceil(blocks / 8 / 4096) * 4096;
      return Math.ceil((runtime + 6 * bitmap + blocks * 4096) / 65536);
    },

    // Bytes of the store that a volume of this capacity may use: all of it where none is given.
    storeBytes: (capacity) => capacity ? SABFSOptions.storePages(capacity) * 65536 : 2 ** 32,

    // name: [whether the value is fine, what it has to be]. By a function, as in SABFSErrors.
    known: () => ({
      'path': [
        (v) => v === null || (typeof v == 'string' && /^\/[^\0]*[^/\0]/.test(v)),
        'an absolute path other than "/", or null to mount nothing yet',
      ],
      'store': [
        (v) => SABFS.isStore(v),
        'a shared WebAssembly.Memory or a SharedArrayBuffer',
      ],
      'volume': [
        (v) => typeof v == 'string' && /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/.test(v),
        'a name of 1 to 64 letters, digits, ".", "_" and "-" that does not begin with "."',
      ],
      'capacity': [
        (v) => SABFSOptions.isCapacity(v),
        'a whole number of bytes from 1 MiB (1048576) to 4 GiB less 2 MiB (4292870144)',
      ],
      'durability': [(v) => SABFSOptions.DURABILITIES.includes(v), '"strict", "relaxed" or "memory"'],
      'folder': [(v) => typeof v == 'string' && v.length > 0, 'a path of the host (Node only)'],
      'keeper': [
        (v) => typeof v == 'string' || v instanceof URL || typeof v.postMessage == 'function',
        'the address of keeper.js, or a Worker made of it',
      ],
      'readOnly': [(v) => typeof v == 'boolean', 'true or false'],
      'persist': [(v) => typeof v == 'boolean', 'true or false'],
      'onProgress': [(v) => typeof v == 'function', 'a function'],
      'access': [
        (v) => ['two-memory', 'one-memory', 'javascript', 'own'].includes(v),
        '"two-memory", "one-memory", "javascript" or "own"',
      ],
    }),

    // A complete set of options, or an error that says which one is wrong.
    check(given, doing) {
      var fail = (why) => { throw SABFSErrors.make('EINVAL', doing, why); };
      if (given === null || typeof given != 'object') fail('the options are not an object');
      var options = {
        path: '/opfs',
        volume: 'default',
        durability: 'strict',
        folder: './sabfs',
        readOnly: false,
      };
      var known = SABFSOptions.known();
      for (var [name, value] of Object.entries(given)) {
        var rule = Object.hasOwn(known, name) && known[name];
        if (!rule) {
          fail(`there is no option "${name}"; there are ${Object.keys(known).join(', ')}`);
        }
        if (value === undefined) continue;
        if (!(name == 'path' && value === null) && (value === null || !rule[0](value))) {
          fail(`the option "${name}" has to be ${rule[1]}, not ${SABFSOptions.show(value)}`);
        }
      }
      // Quoted on one side only: the names of our own object may be minified.
      options.path = given['path'] === undefined ? options.path : given['path'];
      // Unless it says otherwise, a second mount shows the same volume.
      options.volume = given['volume'] ?? SABFSMount.attached?.volume ?? options.volume;
      options.durability = given['durability'] ?? options.durability;
      options.folder = given['folder'] ?? options.folder;
      options.readOnly = given['readOnly'] ?? options.readOnly;
      options.capacity = given['capacity'];
      options.keeper = given['keeper'];
      options.persist = given['persist'];
      options.onProgress = given['onProgress'];
      options.store = given['store'];
      options.access = given['access'];
      if (options.path) options.path = options.path.replace(/\/+$/, '');
      return options;
    },

    show(value) {
      if (typeof value == 'string') return JSON.stringify(value);
      if (typeof value == 'bigint') return `${value}n`;
      if (typeof value == 'object' && value) return `a ${Object.prototype.toString.call(value).slice(8, -1)}`;
      return String(value);
    },
  },
});
