// The durable files of a program on a page's main thread that shares no memory with a worker: files whose calls go by
// message to a worker (emscripten/relay.js).
//
// Every call is taken at once and done later, in order. The journal and the commits run in the program, and see a
// device that is merely slow: what it does is always a beginning of what it was asked for, as after a kill. When the
// worker refuses something the calls that follow it fail with that error, until a retry has succeeded.
addToLibrary({
  $SABFSRemote__deps: ['$SABFSErrors', '$SABFSKeeper'],
  $SABFSRemote: {
    // A batch that has so many bytes is sent before its end.
    BATCH_BYTES: 4 << 20,
    PART_BYTES: 1 << 20,

    worker: null,
    volume: '',
    // {size, parts}: what is read again. `parts` has what is not zero, by the number of the part.
    files: [],
    calls: [],
    callBytes: 0,
    // Numbers of the last batch that was sent and of the last one that was done.
    sent: 0,
    done: 0,
    // Number of the last batch that may hold changes. `upkeep`: those that follow hold none.
    owed: 0,
    upkeep: false,
    // Why the queue stands still: {code, errno, message, final}; a retry is on its way.
    failure: null,
    retrying: false,
    // Those who wait for a batch: {number, resolve}.
    waiting: [],
    closed: null,
    // Called when the volume is out of this page's hands.
    lost: null,

    // Resolves with a device as SabfsDevices.open() makes them.
    async open(options, lost) {
      var doing = `open the volume "${options.volume}"`, remote = SABFSRemote;
      Object.assign(remote, {files: [], calls: [], callBytes: 0, sent: 0, done: 0, owed: 0, failure: null, retrying: false,
        waiting: [], closed: null, lost, volume: options.volume});
      remote.files = [{size: 0, parts: new Map()}, {size: 0, parts: new Map()}];
      var worker = remote.worker = SABFSKeeper.makeWorker(options, doing);
      try {
        await SABFSKeeper.open(worker, options, doing, {
          'relay': true, 'volume': options.volume, 'folder': options.folder, 'readOnly': options.readOnly,
        }, remote.receive);
      } catch (error) {
        worker.terminate();
        throw error;
      }
      return {files: [0, 1].map(remote.file), close: remote.close};
    },

    receive(message) {
      var remote = SABFSRemote, {'part': part, 'sizes': sizes, 'done': done, 'failed': failed} = message;
      if (part) remote.files[part[0]].parts.set(part[1] / remote.PART_BYTES, part[2]);
      if (sizes) sizes.forEach((size, index) => { remote.files[index].size = size; });
      if (done) {
        remote.done = done;
        remote.failure = null;
        remote.retrying = false;
        remote.answer(0);
      }
      if (failed) remote.fail({code: SABFSKeeper.codeOf(failed), errno: failed['errno'], message: failed['message'],
        final: failed['final']});
      if (message['stopped'] || message['dead']) {
        if (!remote.closed) {
          remote.fail({code: 'EIO', errno: 5, message: 'the worker that writes it has ended: reload the page', final: true});
        }
        remote.closed?.();
      }
    },

    fail(failure) {
      var remote = SABFSRemote, known = remote.failure;
      remote.retrying = false;
      if (known?.final) return remote.answer(-known.errno);
      remote.failure = failure;
      if (failure.final) remote.lost();
      // Once until something succeeds.
      if (known?.message != failure.message) SABFSKeeper.warn(remote.volume, failure.code, failure.message);
      remote.answer(-failure.errno);
    },

    // Tells those who wait: all of them of an error, else those whose batch is done.
    answer(result) {
      var remote = SABFSRemote, all = remote.waiting;
      remote.waiting = all.filter(({number}) => !result && number > remote.done);
      for (var {number, resolve} of all) {
        if (result || number <= remote.done) resolve(result);
      }
    },

    // One of the two files; what it throws has the POSIX word as its code.
    file(index) {
      var remote = SABFSRemote, own = remote.files[index];
      var call = (kind, at, bytes) => {
        remote.check();
        remote.calls.push({'file': index, 'kind': kind, 'at': at, 'bytes': bytes});
        remote.callBytes += bytes ? bytes.length : 0;
        if (remote.callBytes > remote.BATCH_BYTES) remote.send();
      };
      return {
        size: () => own.size,
        read(view, at) {
          if (!own.parts) throw SABFSErrors.make('EIO', 'read the image', 'it was let go of');
          var count = Math.max(0, Math.min(view.length, own.size - at));
          remote.eachPart(at, count, (number, from, start, length) => {
            var part = own.parts.get(number), place = view.subarray(start, start + length);
            if (part) {
              // The last part of a file may be short.
              var bytes = part.subarray(from, from + length);
              place.set(bytes);
              place.fill(0, bytes.length);
            } else {
              place.fill(0);
            }
          });
          return count;
        },
        write(view, at) {
          // A copy: the program goes on.
          call(0, at, view.slice());
          own.size = Math.max(own.size, at + view.length);
          if (own.parts) {
            remote.eachPart(at, view.length, (number, from, start, length) => {
              var bytes = view.subarray(start, start + length), part = own.parts.get(number);
              if (!part && !bytes.some((byte) => byte)) return;
              if (!part || part.length < remote.PART_BYTES) {
                var whole = new Uint8Array(remote.PART_BYTES);
                if (part) whole.set(part);
                own.parts.set(number, part = whole);
              }
              part.set(bytes, from);
            });
          }
          return view.length;
        },
        setSize(size) {
          call(1, size);
          if (own.parts && size < own.size) {
            for (var [number, part] of own.parts) {
              var keep = size - number * remote.PART_BYTES;
              if (keep <= 0) own.parts.delete(number);
              else part.fill(0, Math.min(keep, part.length));
            }
          }
          own.size = size;
        },
        flush: () => call(2),
      };
    },

    // Calls `each` with every part that a span touches: its number, where in it, where in the span, how many bytes.
    eachPart(at, count, each) {
      for (var done = 0; done < count;) {
        var from = (at + done) % SABFSRemote.PART_BYTES;
        var length = Math.min(count - done, SABFSRemote.PART_BYTES - from);
        each((at + done - from) / SABFSRemote.PART_BYTES, from, done, length);
        done += length;
      }
    },

    // The image is in the store: its bytes are not asked for again. Those of the journal are, when it is brought home.
    loaded() {
      if (SABFSRemote.worker) SABFSRemote.files[0].parts = null;
    },

    // Throws while the worker refuses what it was sent before.
    check() {
      var failure = SABFSRemote.failure;
      if (!failure) return;
      SABFSRemote.retry();
      throw SABFSErrors.make(failure.code, 'write', failure.message);
    },

    retry() {
      var remote = SABFSRemote;
      if (!remote.failure || remote.retrying || remote.failure.final) return;
      remote.retrying = true;
      remote.worker.postMessage({'order': 'retry'});
    },

    send() {
      var remote = SABFSRemote, calls = remote.calls;
      if (!calls.length) return;
      remote.calls = [];
      remote.callBytes = 0;
      var buffers = calls.filter((call) => call['bytes']).map((call) => call['bytes'].buffer);
      remote.worker.postMessage({'order': 'calls', 'calls': calls, 'number': ++remote.sent}, buffers);
      if (!remote.upkeep) remote.owed = remote.sent;
    },

    // Sends what was recorded; 0, or a negative errno number (Linux) while the worker refuses.
    handOver() {
      if (!SABFSRemote.worker) return 0;
      SABFSRemote.send();
      SABFSRemote.retry();
      return SABFSRemote.failure ? -SABFSRemote.failure.errno : 0;
    },

    // Resolves with 0 when everything that was recorded is done, or with a negative errno number (Linux).
    settle() {
      var remote = SABFSRemote, result = remote.handOver();
      if (!remote.worker || remote.failure?.final) return Promise.resolve(result);
      if (!result && remote.done >= remote.sent) return Promise.resolve(0);
      return new Promise((resolve) => remote.waiting.push({number: remote.sent, resolve}));
    },

    // Whether every change that was handed over is on the device.
    caughtUp: () => !SABFSRemote.worker || (!SABFSRemote.calls.length && SABFSRemote.done >= SABFSRemote.owed),

    // For the back/forward cache.
    pause: () => SABFSRemote.worker?.postMessage({'order': 'pause'}),
    resume: () => SABFSRemote.worker?.postMessage({'order': 'resume'}),

    // Resolves when the files are closed; what was sent before is done first, unless it is refused.
    close() {
      var worker = SABFSRemote.worker;
      if (!worker) return Promise.resolve();
      SABFSRemote.send();
      SABFSRemote.worker = null;
      return new Promise((resolve) => {
        SABFSRemote.closed = () => {
          worker.terminate();
          resolve();
        };
        worker.postMessage({'order': 'close'});
      });
    },
  },

  sabfs_js_hand_over__deps: ['$SABFSRemote'],
  sabfs_js_hand_over: () => SABFSRemote.handOver(),

  sabfs_js_settle__sig: 'i',
  sabfs_js_settle__deps: ['$SABFSRemote'],
#if ASYNCIFY
  sabfs_js_settle__async: 'auto',
#endif
  sabfs_js_settle: () => {
#if ASYNCIFY
    return SABFSRemote.settle();
#else
    // Strict durability was refused when the volume was mounted.
    return 0;
#endif
  },
});
