// A worker, or an iframe's page, that attaches to a store and does what it is told: {store}, then {call: [name, ...args]},
// {hold: true} to take the gate as a client at work has it, {hold: false} to open it. Each is answered: {value} or {error}.
import { SABFS } from '/dist/js/index.js';

const GATE = 64 >> 2, CLIENTS = 4096 >> 2, CLIENT_WORDS = 32;
let volume = null, words = null, slot = 0;

async function answer({ store, call, hold }) {
  if (store) {
    words = new Int32Array(store.buffer);
    const used = (index) => Atomics.load(words, CLIENTS + index * CLIENT_WORDS) & 3;
    const before = Array.from({ length: 64 }, (_, index) => used(index));
    volume = await SABFS.attach(store);
    slot = 1 + before.findIndex((was, index) => !was && used(index));
    return slot;
  }
  if (hold === true) {
    while (Atomics.compareExchange(words, GATE, 0, slot << 1)) Atomics.wait(words, GATE, slot << 1, 1);
    return true;
  }
  if (hold === false) {
    Atomics.store(words, GATE, 0);
    Atomics.notify(words, GATE);
    return true;
  }
  const [name, ...args] = call;
  return typeof window == 'undefined' ? volume[name](...args) : volume.promises[name](...args);
}

async function receive({ data }, to) {
  if (!data?.store && !data?.call && data?.hold === undefined) return;
  try {
    to.postMessage({ value: await answer(data) });
  } catch (error) {
    to.postMessage({ error: { code: error.code, message: error.message } });
  }
}

if (typeof window == 'undefined') onmessage = (event) => receive(event, globalThis);
else addEventListener('message', (event) => receive(event, event.source));
