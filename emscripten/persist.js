// Asks the browser to keep the origin's data when the disk gets full, which it may else delete without a word.
addToLibrary({
  $SABFSPersist: {
    // The attempt to get the promise, a promise itself; a page asks once.
    asked: null,

    // Called when a volume that is persisted has been opened. Nothing waits for the answer or fails by it.
    ask(options) {
#if ENVIRONMENT_MAY_BE_WEB
      // Only pages have the method, not their workers.
      if (ENVIRONMENT_IS_NODE || options.persist === false || !globalThis.navigator?.['storage']?.['persist']) return;
      SABFSPersist.asked ??= SABFSPersist.request(options.persist).catch(() => {});
#endif
    },

    async request(wanted) {
      var storage = navigator['storage'];
      if (await storage['persisted']()) return;
      // Firefox asks the user, whom a program without a word of its own should not surprise. Others decide by themselves.
      if (!wanted && /Firefox\//.test(navigator.userAgent)) {
        var permission = await navigator['permissions'].query({'name': 'persistent-storage'});
        if (permission.state != 'granted') return;
      }
      await storage['persist']();
    },

    // Whether the browser keeps the origin's data; null where there is nobody to say. Does not wait for the user.
    async persisted() {
      var storage = globalThis.navigator?.['storage'];
      return storage?.['persisted'] ? storage['persisted']() : null;
    },
  },
});
