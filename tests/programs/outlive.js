// What outlive.c tells whoever watches: Module.steps is a shared Int32Array, for each place the number of steps and an order.
addToLibrary({
  outlive_step: (place) => {
    var steps = Module['steps'];
    Atomics.add(steps, 2 * place, 1);
    return Atomics.load(steps, 2 * place + 1);
  },
});
