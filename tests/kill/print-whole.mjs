// For killNodeWhen's `prepare`: prints each line whole and at once. Emscripten's own way fails when the pipe is full,
// which a program is that prints faster than the test reads.
import fs from 'node:fs';

const asleep = new Int32Array(new SharedArrayBuffer(4));

export default (Module) => {
  Module.print = (text) => {
    const line = Buffer.from(`${text}\n`);
    for (let done = 0; done < line.length; ) {
      try {
        done += fs.writeSync(1, line, done);
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        Atomics.wait(asleep, 0, 0, 1);
      }
    }
  };
};
