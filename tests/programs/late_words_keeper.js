// A keeper whose last message arrives after its lock is free: whoever waits for its end hears of the lock first.
{
  const post = postMessage.bind(globalThis), end = close.bind(globalThis);
  globalThis.postMessage = (message, ...rest) => {
    if (message?.sabfs?.stopped) setTimeout(post, 300, message, ...rest);
    else post(message, ...rest);
  };
  globalThis.close = () => setTimeout(end, 600);
}
importScripts('/dist/keeper.js');
