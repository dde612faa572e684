// A worker, of Node or of a browser, that runs share.c. It gets one message, {program, place, number, seed, store, ticks,
// access}, and sends {line} and {ended: code}.
const isNode = typeof process === 'object' && !!process.versions?.node;
const port = isNode ? process.getBuiltinModule('node:worker_threads').parentPort : globalThis;

async function run({ program, place, number, seed, store, ticks, access }) {
  const { default: make } = await import(program);
  const tell = (line) => port.postMessage({ line });
  const module = await make({ sabfs: { store, access }, ticks, print: tell, printErr: tell });
  port.postMessage({ ended: module.callMain(['/opfs', ...[place, number, seed].map(String)]) });
}

const receive = (data) => run(data).catch((error) => port.postMessage({ line: String(error), ended: -1 }));
if (isNode) port.once('message', receive);
else port.onmessage = ({ data }) => receive(data);
