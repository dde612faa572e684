// For a program's `prepare`, in Node and in a page: terminates the keeper's worker Module.ends times, each time a random
// while after the program has made a step since the last one was followed, and none when Module.endsForMs have passed since
// the first step: who ends before its keeper is followed leaves the volume's lock behind. Prints `keepers ended N` at the end.
export default (Module) => {
  const isNode = typeof process === 'object' && !!process.versions?.node;
  const home = isNode ? process.getBuiltinModule('node:worker_threads') : globalThis;
  const print = Module.print ?? ((text) => console.log(text));
  let keeper = null, fresh = false, ended = 0, until = 0;
  home.Worker = class extends home.Worker {
    constructor(script, options) {
      super(script, options);
      if (options?.name !== 'sabfs-keeper') return;
      keeper = this;
      fresh = true;
    }
  };
  Module.print = (text) => {
    print(text);
    if (text.startsWith('tree')) print(`keepers ended ${ended}`);
    if (!text.startsWith('ack') || !fresh || ended === Module.ends) return;
    until ||= performance.now() + Module.endsForMs;
    if (performance.now() > until) return;
    fresh = false;
    setTimeout(() => {
      ended++;
      keeper.terminate();
    }, Math.random() * 30);
  };
};
