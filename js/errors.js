/** An error with a POSIX word as its `code`. Calls on files give Linux's number, negative, as `errno`, too, and what was called. */
class SABFSError extends Error {
  /**
   * @param {string} code such as 'ENOENT'
   * @param {string} message what was being done, why it failed, what helps
   * @param {object} [more] further properties
   */
  constructor(code, message, more) {
    super(message);
    this.name = 'SABFSError';
    this.code = code;
    Object.assign(this, more);
  }
}

// What a native call answered; it becomes a SABFSError where it is known what was being done.
class Refused extends Error {
  constructor(errno) {
    super(`error ${errno}`);
    this.errno = errno;
  }
}

// Linux's numbers of what is dealt with here.
const EBADF = 9, EAGAIN = 11;

const quoted = (path) => (typeof path == 'number' ? `handle ${path}` : typeof path == 'string' ? JSON.stringify(path)
  : `"${new TextDecoder().decode(path)}"`);

// An argument that is wrong.
const invalid = (why, code = 'EINVAL') => new SABFSError(code, `SABFS: ${why}`);
