// Nothing in a test waits for ever.

/** How long a browser may take to start, in ms. Slow machines take long at the first start. */
export const launchTimeout = 90_000;

/** The promise's result, or an error with the message after so many ms. */
export function withTimeout(promise, ms, message) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${message} (${ms} ms)`)), ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}
