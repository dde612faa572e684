// A keeper whose files take their time to be closed.
(() => {
  const fs = require('node:fs');
  const { closeSync } = fs;
  fs.closeSync = (descriptor) => {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    closeSync(descriptor);
  };
  require(require('node:path').resolve(__dirname, '../../dist/keeper.js'));
})();
