// The standby: a second worker that goes on with the volume when the keeper's worker dies.
//
// Where the program runs on this thread it may be asleep in an fsync at that moment, and then nobody here can hear of
// the death or start a worker. The standby has nothing else to do than to wait for it. A program whose main() runs in a
// thread of its own leaves this one free to do that, and needs none.
addToLibrary({
  $SABFSStandby__deps: ['$SABFSKeeper', '$SABFSErrors'],
  $SABFSStandby: {
    // Makes the worker, which does nothing yet; null where there can be none.
    make(options, doing) {
#if PROXY_TO_PTHREAD
      return null;
#else
      if (typeof options.keeper == 'object' && options.keeper.postMessage) return null;
      // With a second worker Chromium often throws a page away that goes into the back/forward cache.
      if (!ENVIRONMENT_IS_NODE) return null;
      return SABFSKeeper.makeWorker(options, doing, 'sabfs-standby');
#endif
    },

    // Lets the worker wait for the death of the keeper that was started with this request; gives {worker, request,
    // served, waits}: `served` resolves when it serves the volume, `waits` when it waits or cannot.
    arm(worker, options, doing, {'alive': alive, 'heir': heir}) {
      var standby = {
        worker, request: {
          ...SABFSKeeper.request(options), 'follows': true, 'before': heir || alive,
          // Not 0 any more when it is not to follow.
          'dropped': new Int32Array(new SharedArrayBuffer(4)),
        },
      };
      standby.waits = new Promise((resolve) => {
        standby.served = SABFSKeeper.open(worker, options, doing, standby.request, (message) => {
          if (message['waiting']) resolve();
          if (message['stopped']) standby.over = true;
        });
        standby.served.then(resolve, resolve);
      });
      // It must not keep the process alive, which waits for nothing. Not before: whoever listens waits.
      worker.unref?.();
      return standby;
    },

    // The keeper that runs gets a standby, unless there can be none. A browser starts a worker only while its maker is
    // not asleep: who may fall asleep soon waits for this.
    async renew(running, worker) {
      var {options} = running, doing = `watch over the volume "${options.volume}"`;
      try {
        worker ??= SABFSStandby.make(options, doing);
        if (!worker) return;
        running.standby = SABFSStandby.arm(worker, options, doing, running.request);
        if (!ENVIRONMENT_IS_NODE) await running.standby.waits;
      } catch (error) {
        // The keeper lives; when it dies this thread is the only one to follow it.
        err(error.message);
      }
    },

    // The keeper has died, and the standby knows that by itself: it becomes the keeper.
    async promote(running, doing) {
      var {standby} = running, {worker, request} = standby, timer;
      Object.assign(running, {worker, request, standby: null});
      try {
        await Promise.race([standby.served, new Promise((_, reject) => {
          var late = Object.assign(SABFSErrors.make('ETIMEDOUT', doing, 'the worker that was to follow it says nothing'),
            {gone: true});
          timer = setTimeout(reject, SABFSKeeper.SILENT_LIMIT_MS, late);
        })]);
        // While this thread was asleep it may have been stopped, too.
        running.over = !!standby.over;
      } catch (error) {
        // Whatever kept it from that, another worker may do better.
        throw Object.assign(error, {gone: true});
      } finally {
        clearTimeout(timer);
      }
    },

    // Nobody is to go on by himself from now on.
    drop(running) {
      SABFSStandby.dismiss(running)?.worker.terminate();
    },

    // The same where no worker may be ended, as Chromium does not put aside a page that does that: it ends by itself.
    dismiss(running) {
      var {standby} = running;
      running.standby = null;
      if (standby) Atomics.store(standby.request['dropped'], 0, 1);
      return standby;
    },
  },
});
