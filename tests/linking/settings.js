// For `--pre-js`: the volume is mounted before main, in the folder that the program is started in.
Module['sabfs'] = { path: '/opfs', capacity: 32 << 20 };
