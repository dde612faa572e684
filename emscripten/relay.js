// The worker's side of a volume whose program shares no memory with it: it opens the files, sends what is in them, and
// then does what it is sent, in the order in which it was asked for (emscripten/remote.js is the other side).
//
// What fails stops the queue: nothing that was asked for later is done before it. So the files always hold what a
// program would have left that was killed at that moment, and the journal's rules need nothing else. A retry does a
// failed write again, and before a failed flush every write since the last flush of that file, as a flush that
// succeeds says nothing about bytes that an earlier one failed to write.
const SabfsRelay = {
  CHUNK_BYTES: 1 << 20,
  // What tells one owner of a journal from another: the headers of both segments, which each owner replaces.
  MARK_BYTES: 512,
  // What a new volume takes at least: its journal. Not more, as Chromium asks the quota for the next power of two.
  NEW_BYTES: 16 << 20,

  async serve({volume, folder, readOnly}, post) {
    let device = await SabfsDevices.open(volume, folder, readOnly);
    const doing = [['write the image', 'make room in the image', 'flush the image'],
      ['write the journal', 'make the journal', 'flush the journal']];
    // Each: {file, kind, at, bytes}, or {number} at the end of a batch.
    const queue = [];
    // The writes of each file since its last flush that succeeded.
    const unflushed = [[], []];
    let stuck = false, lost = null, mark = null, ended;
    const end = new Promise((resolve) => { ended = resolve; });

    const readMark = () => [0, Math.floor(device.files[1].size() / 2)].map((at) => {
      const bytes = new Uint8Array(SabfsRelay.MARK_BYTES);
      device.files[1].read(bytes, at);
      return bytes.join();
    }).join(' ');

    function write(file, at, bytes) {
      for (let done = 0; done < bytes.length;) {
        const count = file.write(done ? bytes.subarray(done) : bytes, at + done);
        if (!(count > 0)) throw SabfsDevices.fail('EIO', 'the write makes no progress');
        done += count;
      }
    }

    function perform({file, kind, at, bytes}) {
      const open = device.files[file];
      if (kind == 0) write(open, at, bytes);
      else if (kind == 1) open.setSize(at);
      else open.flush();
    }

    // Does all that is in the queue, up to what fails.
    function run() {
      while (!stuck && !lost && device && queue.length) {
        const [call] = queue;
        if (call.number) {
          post({done: call.number});
          queue.shift();
          continue;
        }
        try {
          if (call.again) unflushed[call.file].forEach(perform);
          call.again = false;
          perform(call);
        } catch (error) {
          stuck = true;
          // Written again together with everything that the flush was to make durable.
          if (call.kind == 2) call.again = true;
          post({failed: {
            errno: SabfsDevices.errno(error), code: error.code,
            message: `cannot ${doing[call.file][call.kind]}: ${error.message || error}`,
          }});
          return;
        }
        if (call.kind == 2) unflushed[call.file].length = 0;
        else unflushed[call.file].push(call);
        queue.shift();
      }
    }

    // For good: the volume belongs to somebody else.
    function lose(code, message) {
      lost = {code, errno: SabfsDevices.errno({code}), message, final: true};
      post({failed: lost});
    }

    const orders = {
      calls({calls, number}) {
        queue.push(...calls, {number});
        if (lost) post({failed: lost});
        run();
      },
      retry() {
        stuck = false;
        if (lost) post({failed: lost});
        run();
      },
      // The page goes into the back/forward cache: others may open the volume meanwhile.
      pause() {
        if (!device) return;
        mark = readMark();
        device.close();
        device = null;
      },
      async resume() {
        if (device || lost) return;
        try {
          const opened = await SabfsDevices.open(volume, folder, readOnly);
          device = opened;
          if (readMark() != mark) {
            device = null;
            opened.close();
            lose('EIO', 'another tab has changed the volume while this page was put aside: reload the page');
          }
        } catch (error) {
          lose(error.code || 'EIO', `${error.message || error}; then reload the page`);
        }
        run();
      },
      close() {
        ended();
      },
    };

    try {
      const sizes = device.files.map((file) => file.size());
      // Where there is no room for a new volume the mount fails, not the program's first fsync.
      if (!readOnly && sizes[1] == 0) {
        device.files[1].setSize(SabfsRelay.NEW_BYTES);
        device.files[1].setSize(0);
      }
      const total = sizes[0] + sizes[1];
      let done = 0;
      for (const [index, file] of device.files.entries()) {
        for (let at = 0; at < sizes[index]; at += SabfsRelay.CHUNK_BYTES) {
          const bytes = new Uint8Array(Math.min(SabfsRelay.CHUNK_BYTES, sizes[index] - at));
          let count = 0;
          while (count < bytes.length) {
            const more = file.read(bytes.subarray(count), at + count);
            if (!(more > 0)) throw SabfsDevices.fail('EIO', 'a file of the volume ends too early');
            count += more;
          }
          done += bytes.length;
          // What is not sent is zero.
          if (bytes.some((byte) => byte)) post({part: [index, at, bytes]}, [bytes.buffer]);
          post({progress: [1, done >> 12, total >> 12]});
        }
      }
      let tail = Promise.resolve();
      const receive = (data) => {
        // One after the other, as opening the files again takes a while.
        tail = tail.then(() => orders[data.order](data)).catch((error) => lose('EIO', String(error.message || error)));
      };
      post({ready: true, sizes}, [], receive);
      await end;
    } finally {
      device?.close();
    }
  },
};
