// What share.c tells whoever watches: Module.ticks is a shared Int32Array, one word for each place, the last one says to stop.
addToLibrary({
  share_tick: (place) => {
    var ticks = Module['ticks'];
    Atomics.add(ticks, place, 1);
    return Atomics.load(ticks, ticks.length - 1) ? 0 : 1;
  },
});
