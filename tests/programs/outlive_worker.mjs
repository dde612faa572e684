// A worker, of Node or of a browser, that runs outlive.c. It gets {program, place, number, steps, sabfs, unmounts}, and sends {line},
// {mounted}, {ended: code} and {done}: `unmounts` says that it unmounts the volume when it has got the order {unmount}.
const isNode = typeof process === 'object' && !!process.versions?.node;
const port = isNode ? process.getBuiltinModule('node:worker_threads').parentPort : globalThis;
let volume = null;

async function run({ program, place, number, steps, sabfs, idle }) {
  const stage = (stage) => port.postMessage({ stage });
  stage('begun');
  const { default: make } = await import(program);
  stage('loaded');
  const tell = (line) => port.postMessage({ line });
  const module = await make({ sabfs, steps, print: tell, printErr: tell });
  stage('made');
  volume = await module.mountSABFS();
  port.postMessage({ mounted: volume.name });
  if (!idle) port.postMessage({ ended: module.callMain(['/opfs', String(place), String(number)]) });
}

async function receive(data) {
  try {
    if (data.unmount) {
      await volume.unmount();
      port.postMessage({ done: true });
    } else if (data.leave) {
      process.exit(0);
    } else {
      await run(data);
    }
  } catch (error) {
    // An abort that was asked for is the end of the program and of nothing else.
    port.postMessage({ line: String(error), ended: -1 });
  }
}
if (isNode) port.on('message', receive);
else port.onmessage = ({ data }) => receive(data);
