// What a durable write costs at least: one write of a record's size into a file that has its place already, through a
// handle of OPFS, and one flush. benches/fsync.mjs compares with it.
let handle = null, size_bytes = 0, at = 0;

async function open(bytes) {
  const root = await navigator.storage.getDirectory();
  const file = await root.getFileHandle('bench-raw', { create: true });
  handle = await file.createSyncAccessHandle();
  const zeros = new Uint8Array(1 << 20);
  for (size_bytes = 0; size_bytes < bytes; size_bytes += zeros.length) handle.write(zeros, { at: size_bytes });
  handle.flush();
}

// One record after the other, as a journal does.
function measure({ count, record_bytes }) {
  const record = new Uint8Array(record_bytes).fill(7), times_us = [];
  let begin = performance.now();
  for (let i = 0; i < count; i++) {
    if (at + record_bytes > size_bytes) at = 0;
    handle.write(record, { at });
    handle.flush();
    at += record_bytes;
    const end = performance.now();
    times_us.push((end - begin) * 1e3);
    begin = end;
  }
  times_us.sort((a, b) => a - b);
  return { p50_us: times_us[count >> 1], p99_us: times_us[Math.floor(count * 0.99)] };
}

onmessage = async ({ data }) => {
  try {
    if (!handle) await open(data.file_bytes);
    postMessage(measure(data));
  } catch (error) {
    postMessage({ error: `${error.name}: ${error.message}` });
  }
};
