// The standby: in Node, a second worker that goes on with the volume when the keeper's worker dies.
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
      // In browsers it stood in the way of the next page, and of the back/forward cache (docs/design.md).
      if (!ENVIRONMENT_IS_NODE) return null;
      return SABFSKeeper.makeWorker(options, doing, 'sabfs-standby');
#endif
    },

    // Lets the worker wait for the death of the keeper that was started with this request; gives {worker, request,
    // served}: `served` resolves when it serves the volume.
    arm(worker, options, doing, {'heir': heir}) {
      var standby = {
        worker, request: {...SABFSKeeper.request(options), 'follows': true, 'before': heir},
      };
      standby.served = SABFSKeeper.open(worker, options, doing, standby.request, (message) => {
        if (message['stopped']) standby.over = true;
      });
      // Whether it can is looked at when it has to.
      standby.served.catch(() => {});
      // It must not keep the process alive, which waits for nothing. Not before: whoever listens waits.
      worker.unref?.();
      return standby;
    },

    // The keeper that runs gets a standby, unless there can be none.
    renew(running) {
      var {options} = running, doing = `watch over the volume "${options.volume}"`;
      try {
        var worker = SABFSStandby.make(options, doing);
        if (!worker) return;
        running.standby = SABFSStandby.arm(worker, options, doing, running.request);
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
      running.standby?.worker.terminate();
      running.standby = null;
    },
  },
});
