// A keeper that dies at one of its calls of the device or the store, after it has told the test. Those that follow one live.
// The number of calls that it makes before is SABFS_KEEPER_CALLS in Node, ?calls= in a browser.
(() => {
  const isNode = typeof process == 'object' && !!process.versions?.node;
  const calls = Number(isNode ? process.env.SABFS_KEEPER_CALLS : new URL(location.href).searchParams.get('calls'));
  const { instantiate } = WebAssembly;
  let left = Infinity;

  const die = () => {
    if (isNode) {
      require('node:fs').writeSync(2, 'this keeper dies here\n');
      process.exit(1);
    }
    fetch('/died', { method: 'POST', keepalive: true });
    throw new Error('this keeper dies here');
  };

  WebAssembly.instantiate = async (module, { env }) => {
    const counted = {};
    for (const [name, call] of Object.entries(env)) {
      counted[name] = typeof call != 'function' ? call : (...values) => {
        if (--left == 0) die();
        return call(...values);
      };
    }
    const { exports } = await instantiate(module, { env: counted });
    const open = (...values) => {
      const status = exports.sabfs_keeper_open(...values);
      left = calls;
      return status;
    };
    return { exports: { ...exports, sabfs_keeper_open: open } };
  };

  if (isNode) require(require('node:path').resolve(__dirname, '../../dist/keeper.js'));
  else importScripts('/dist/keeper.js');
})();
