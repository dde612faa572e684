// Errors: each has the POSIX word as its `code` and says what was being done, why it failed and what
// helps.
addToLibrary({
  $SABFSErrors: {
    // name: [number in Emscripten's C library, number in Linux, which the store's words use, meaning]
    // Made by a function, as the names of a plain object would be minified.
    table: () => ({
      'EACCES': [{{{ cDefs.EACCES }}}, 13, 'permission denied'],
      'EAGAIN': [{{{ cDefs.EAGAIN }}}, 11, 'somebody else has it: try again'],
      'EBUSY': [{{{ cDefs.EBUSY }}}, 16, 'in use'],
      'EDQUOT': [{{{ cDefs.EDQUOT }}}, 122, 'the quota is used up: free some space of this origin'],
      'EEXIST': [{{{ cDefs.EEXIST }}}, 17, 'it exists'],
      'EFBIG': [{{{ cDefs.EFBIG }}}, 27, 'the volume is larger than the capacity: set a larger `capacity`'],
      'EINVAL': [{{{ cDefs.EINVAL }}}, 22, 'invalid argument'],
      'EIO': [{{{ cDefs.EIO }}}, 5, 'the volume or its device is damaged'],
      'ENFILE': [{{{ cDefs.ENFILE }}}, 23, 'too many files are open in this store'],
      'ENODEV': [{{{ cDefs.ENODEV }}}, 19, 'no volume is mounted'],
      'ENOENT': [{{{ cDefs.ENOENT }}}, 2, 'not found'],
      'ENOMEM': [{{{ cDefs.ENOMEM }}}, 12, 'not enough memory: set a smaller `capacity`'],
      'ENOSPC': [{{{ cDefs.ENOSPC }}}, 28, 'no space is left on the device'],
      'ENOTDIR': [{{{ cDefs.ENOTDIR }}}, 20, 'there is something that is not a directory'],
      'ENOTEMPTY': [{{{ cDefs.ENOTEMPTY }}}, 39, 'the directory is not empty'],
      'EOPNOTSUPP': [{{{ cDefs.EOPNOTSUPP }}}, 95, 'not supported here'],
      'EPERM': [{{{ cDefs.EPERM }}}, 1, 'not permitted'],
      'EPROTONOSUPPORT': [{{{ cDefs.EPROTONOSUPPORT }}}, 93, 'the volume is of another format version'],
      'EROFS': [{{{ cDefs.EROFS }}}, 30, 'read-only'],
      'ETIMEDOUT': [{{{ cDefs.ETIMEDOUT }}}, 110, 'no answer'],
      'EUSERS': [{{{ cDefs.EUSERS }}}, 87, 'this store has 64 clients already: end one, or give this program a store of its own'],
    }),

    SABFSError: class SABFSError extends Error {
      constructor(code, message) {
        super(message);
        this['name'] = 'SABFSError';
        this['code'] = code;
      }
    },

    // Any error as one of ours; `doing` completes "cannot ...".
    make: (code, doing, why) => new SABFSErrors.SABFSError(code, `SABFS: cannot ${doing}: ${why}`),

    // The same for what the keeper or the device said, which knows of no remedy when there is no room.
    refused: (code, doing, why) => SABFSErrors.make(code, doing, code != 'EDQUOT' && code != 'ENOSPC' ? why
      : `${why}: free some space in this origin's storage or on the disk, or set durability: "memory"`),

    // From the negative number that a function in C or Rust gave.
    fromStatus(status, doing) {
      for (var [name, [number, , meaning]] of Object.entries(SABFSErrors.table())) {
        if (number == -status) return SABFSErrors.make(name, doing, meaning);
      }
      return SABFSErrors.make('EIO', doing, `error ${-status}`);
    },

    // The word for a number of Linux.
    word(linux) {
      for (var [name, [, number]] of Object.entries(SABFSErrors.table())) {
        if (number == linux) return name;
      }
      return 'EIO';
    },

    toStatus: (error) => -(SABFSErrors.table()[error['code']] || SABFSErrors.table()['EIO'])[0],
    toLinux: (error) => (SABFSErrors.table()[error['code']] || SABFSErrors.table()['EIO'])[1],
  },
});
