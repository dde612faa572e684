// Extended attributes, of a path or a handle.
const XATTR_CREATE = 1, XATTR_REPLACE = 2;

// Calls with the place of a name, behind which there is room for so many more bytes.
function withName(n, target, name, options, more, call) {
  if (typeof name == 'string' && name.isWellFormed?.() === false) throw new Refused(84);
  const bytes = bytesOf(name, 'the name'), follow = options?.follow === false ? 0 : 1;
  // All has to fit before the first part is there, as the input may move.
  n.input(3 * (target?.length ?? 0) + bytes.length + more);
  return n.by(typeof target == 'number' ? handleOf(target) : target, (at, length) => {
    const begin = length == AS_HANDLE ? 0 : length;
    n.host.u8.set(bytes, n.at + begin);
    return call(at, length, follow, begin, bytes.length);
  });
}

const XATTRS_LOOKING = {
  getxattr(n, target, name, options) {
    const encoding = encodingOf(options);
    const value = n.output(withName(n, target, name, options, 0, (...where) => n.x.sabfs_page_getxattr(...where)));
    return encoding === 'utf8' ? decoded(value, encoding) : value;
  },
  listxattr(n, target, options) {
    const encoding = encodingOf(options), follow = options?.follow === false ? 0 : 1, names = [];
    const given = typeof target == 'number' ? handleOf(target) : target;
    const bytes = n.output(n.by(given, (at, length) => n.x.sabfs_page_listxattr(at, length, follow)));
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(0, at);
      names.push(decoded(bytes.slice(at, end), encoding));
      at = end + 1;
    }
    return names;
  },
};

const XATTRS_CHANGING = {
  setxattr(n, target, name, value, options) {
    const bytes = bytesOf(value, 'the value'), flags = (options?.create ? XATTR_CREATE : 0) | (options?.replace ? XATTR_REPLACE : 0);
    withName(n, target, name, options, bytes.length, (at, length, follow, begin, count) => {
      n.host.u8.set(bytes, n.at + begin + count);
      return n.x.sabfs_page_setxattr(at, length, follow, begin, count, begin + count, bytes.length, flags);
    });
  },
  removexattr(n, target, name, options) {
    withName(n, target, name, options, 0, (...where) => n.x.sabfs_page_removexattr(...where));
  },
};
