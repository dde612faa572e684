// A keeper that never comes back from a flush of its files: from its first one on for a volume named "first", otherwise from its
// 200th one on.
(() => {
  const fs = require('node:fs');
  const { fdatasyncSync, openSync } = fs;
  let left = 200;
  fs.openSync = (name, ...rest) => {
    if (String(name).includes('/first/')) left = 0;
    return openSync(name, ...rest);
  };
  fs.fdatasyncSync = (descriptor) => {
    if (left-- <= 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    fdatasyncSync(descriptor);
  };
  require(require('node:path').resolve(__dirname, '../../dist/keeper.js'));
})();
