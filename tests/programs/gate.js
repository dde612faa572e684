// For `emcc --js-library`: closes the store's gate in the name of the keeper, who is never taken for dead while he serves.
addToLibrary({
  gate_close__deps: ['$SABFS'],
  gate_close: () => {
    while (Atomics.compareExchange(SABFS.i32, 64 >> 2, 0, 65 << 1)) {}
  },
  gate_open__deps: ['$SABFS'],
  gate_open: () => {
    Atomics.store(SABFS.i32, 64 >> 2, 0);
    Atomics.notify(SABFS.i32, 64 >> 2);
  },
  // When the page's thread comes to its timers.
  gate_open_later__deps: ['gate_open', 'gate_timers'],
  gate_open_later: (ms) => {
    setTimeout(() => {
      Module['gateTimers'] = 1 + (Module['gateTimers'] ?? 0);
      _gate_open();
    }, ms);
  },
  gate_timers: () => Module['gateTimers'] ?? 0,
  gate_awaited__deps: ['$SABFS'],
  gate_awaited: () => Atomics.load(SABFS.i32, 64 >> 2) & 1,
});
