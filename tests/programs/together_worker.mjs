// A worker, of Node or of a browser, that shares a store by the package for JavaScript and does what it is told. The first message
// attaches it: {sabfs: {store}}; each other one is a call, {call, name, arguments}, and gets {call, result}, or {call, error}.
import { SABFS } from '../../dist/js/index.js';
import { randomNumbers } from '../kill/random.mjs';
import { Actor, Counter, Mirror, verify } from './together_actor.mjs';

const isNode = typeof process === 'object' && !!process.versions?.node;
const port = isNode ? process.getBuiltinModule('node:worker_threads').parentPort : globalThis;
// Steps that are done before the watcher has a turn.
const IN_A_ROW = 7;
let volume = null, mirror = null, actor = null;

const CALLS = {
  /** Begins to watch another's folder. */
  async call_watch(watched) {
    mirror = await Mirror.watch(volume, watched);
  },
  /** Works in a folder for so long, and counts with others; gives what has to be there then. */
  async call_work(home, counted, seed, forMs) {
    actor = new Actor(volume, home, randomNumbers(seed));
    const counter = await Counter.open(volume, counted);
    for (const end = performance.now() + forMs; performance.now() < end;) {
      for (let turn = 0; turn < IN_A_ROW; turn++) await actor.step();
      await counter.add();
      await new Promise((resolve) => setTimeout(resolve));
    }
    await counter.close();
    return { known: actor.known, steps: actor.steps, counted: counter.steps };
  },
  /** Compares another's folder with what that one knows of it, and with what was told of it. */
  async call_verify(home, known, limitMs) {
    await verify(volume, home, known);
    await mirror.settle(limitMs);
    return { events: mirror.events, overflows: mirror.overflows };
  },
  async call_leave() {
    await volume.detach();
  },
};

async function serve({ sabfs, call, name, arguments: given }) {
  try {
    let result;
    if (sabfs) volume = await SABFS.attach(sabfs.store);
    else result = await CALLS[name](...given);
    port.postMessage({ call, result });
  } catch (error) {
    port.postMessage({ call, error: String(error?.stack ?? error) });
  }
}

if (isNode) port.on('message', serve);
else port.onmessage = ({ data }) => serve(data);
