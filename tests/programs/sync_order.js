// For `emcc --js-library`: the marks of sync_order.c, set by the page (Module.orderMark) while the thread waits.
addToLibrary({
  order_begin__proxy: 'sync',
  order_begin: (step) => Module['orderMark']('begin', step),
  order_acknowledge__proxy: 'sync',
  order_acknowledge: (step) => Module['orderMark']('acknowledge', step),
});
