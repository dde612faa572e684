// A keeper on a disk that lies: a write is done up to half a second after it was said to be, a flush does nothing. What
// is acknowledged meanwhile is lost by a kill, which the rounds have to find.
const fs = process.getBuiltinModule('node:fs');
const path = require('node:path');

const LATE_MS = 500;
const { writeSync, readSync, fstatSync, ftruncateSync } = fs;
const queue = [];
let since = 0;

function settle() {
  for (const [descriptor, bytes, at] of queue.splice(0)) {
    for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done, bytes.length - done, at + done);
  }
}

fs.writeSync = (descriptor, view, offset, length, at) => {
  // The lock file, not the volume's.
  if (typeof at !== 'number') return writeSync(descriptor, view, offset, length, at);
  if (queue.length && performance.now() - since > LATE_MS) settle();
  if (!queue.length) since = performance.now();
  queue.push([descriptor, Uint8Array.from(view.subarray(offset, offset + length)), at]);
  return length;
};
// Whoever asks sees what was written.
const settled = (operation) => (...values) => {
  settle();
  return operation(...values);
};
fs.readSync = settled(readSync);
fs.fstatSync = settled(fstatSync);
fs.ftruncateSync = settled(ftruncateSync);
fs.fdatasyncSync = () => {};

require(path.resolve(__dirname, '../../dist/keeper.js'));
