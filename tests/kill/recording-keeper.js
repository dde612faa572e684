// A keeper whose calls of its files are recorded. Its first message, before the one that starts it, is the record: a
// shared Int32Array. Its first word counts the events of all threads; event N is the word N:
//   the number of the event's kind, the file (4 bits on), the step (8 bits on)
// `carry` events follow the `write` to which they belong, one for each step of which it holds a block.
{
  const KINDS = { write: 1, written: 2, flush: 3, flushed: 4, carry: 7 };
  const FILES = { image: 1, journal: 2 };
  const PATTERN = 0x5abf50000d0e0000n;
  let record;
  const names = new WeakMap();

  const note = (kind, handle, step = 0) => {
    const event = Atomics.add(record, 0, 1) + 1;
    if (event < record.length) record[event] = KINDS[kind] | (FILES[names.get(handle)] << 4) | (step << 8);
  };

  // The steps of which the bytes hold a block: a pattern begins at a multiple of 8 bytes.
  const stepsOf = (view) => {
    const bytes = Uint8Array.prototype.slice.call(view);
    const words = new BigUint64Array(bytes.buffer, 0, bytes.length >> 3);
    const steps = new Set();
    for (const word of words) {
      if (word > PATTERN && word < PATTERN + 0x1000n) steps.add(Number(word - PATTERN));
    }
    return steps;
  };

  const { createSyncAccessHandle } = FileSystemFileHandle.prototype;
  FileSystemFileHandle.prototype.createSyncAccessHandle = async function (...options) {
    const handle = await createSyncAccessHandle.apply(this, options);
    names.set(handle, this.name);
    return handle;
  };
  const { write, flush } = FileSystemSyncAccessHandle.prototype;
  FileSystemSyncAccessHandle.prototype.write = function (view, options) {
    const steps = stepsOf(view);
    note('write', this);
    for (const step of steps) note('carry', this, step);
    const count = write.call(this, view, options);
    // A short write is followed by another one, of which nobody knows what it carries: there must be none here.
    if (count !== view.byteLength) throw new Error(`${count} of ${view.byteLength} bytes were written`);
    note('written', this);
    return count;
  };
  FileSystemSyncAccessHandle.prototype.flush = function () {
    note('flush', this);
    flush.call(this);
    note('flushed', this);
  };

  onmessage = ({ data }) => {
    record = data;
    importScripts('/dist/keeper.js');
  };
}
