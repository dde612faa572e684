// A keeper that dies at one of its calls of the device or the store, after it has told the test. Those that follow one live.
// The number of calls that it makes before is SABFS_KEEPER_CALLS.
(() => {
  const calls = Number(process.env.SABFS_KEEPER_CALLS);
  const { instantiate } = WebAssembly;
  let left = Infinity;

  const die = () => {
    require('node:fs').writeSync(2, 'this keeper dies here\n');
    process.exit(1);
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

  require(require('node:path').resolve(__dirname, '../../dist/keeper.js'));
})();
