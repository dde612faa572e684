/** A path: a string, or its bytes. What is not absolute begins at the root. */
export type Path = string | Uint8Array;
/** Bytes, or a string that is written as UTF-8. */
export type Data = string | ArrayBuffer | SharedArrayBuffer | ArrayBufferView;
/** The number of an open file. */
export type Handle = number;
/** Seconds, a date, or nanoseconds as a BigInt; null leaves the time as it is. */
export type Time = number | Date | bigint | null;
export type Flags = 'r' | 'rs' | 'r+' | 'rs+' | 'w' | 'wx' | 'w+' | 'wx+' | 'a' | 'ax' | 'as' | 'a+' | 'ax+' | 'as+';
/** Permission bits, as a number or in octal digits. */
export type Mode = number | string;
export type Kind = 'file' | 'directory' | 'symlink' | 'fifo' | 'socket' | 'block' | 'character';
export type Store = WebAssembly.Memory | SharedArrayBuffer;

export interface Options {
  /** Name of the volume: `sabfs/<volume>` in OPFS, `<folder>/<volume>` in Node. Default: 'default'. */
  volume?: string;
  /** Most bytes that the volume may have; 1 GiB unless said otherwise. */
  capacity?: number;
  /** When fsync() returns: when it is flushed, when it is written, or at once as nothing is persisted. Default: 'strict'. */
  durability?: 'strict' | 'relaxed' | 'memory';
  /** Node: the folder of the volumes; './sabfs' unless said otherwise. */
  folder?: string;
  readOnly?: boolean;
  /** A store to put the volume into, rather than a new one. */
  store?: Store;
  /** The address of keeper.js, or a Worker made of it, where workers from blob: are forbidden. */
  keeper?: string | URL | Worker;
  /** Whether the browser is asked to keep the data when the disk gets full. */
  persist?: boolean;
  onProgress?: (progress: { phase: 'recover' | 'load'; doneBytes: number; totalBytes: number }) => void;
  /** How the store is reached; for tests. */
  access?: 'two-memory' | 'one-memory' | 'javascript';
}

/** An error of this package. */
export class SABFSError extends Error {
  name: 'SABFSError';
  /** The POSIX word, such as 'ENOENT'. */
  code: string;
  /** Linux's number, negative; of calls on files. */
  errno?: number;
  /** The method that was called; of calls on files. */
  syscall?: string;
  path?: Path;
  /** The second path of rename, link and symlink. */
  dest?: Path;
}

interface Kinds {
  readonly kind: Kind;
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isBlockDevice(): boolean;
  isCharacterDevice(): boolean;
}

export interface Stats extends Kinds {
  ino: number;
  /** Counts the uses of the inode's number. */
  generation: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
  /** In bytes. */
  size: number;
  blksize: number;
  /** In units of 512 bytes. */
  blocks: number;
  atimeMs: number;
  mtimeMs: number;
  ctimeMs: number;
  birthtimeMs: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly atime: Date;
  readonly mtime: Date;
  readonly ctime: Date;
  readonly birthtime: Date;
  /** Grows with every change of data or names. */
  change: number;
}

export interface Dirent<Name = string> extends Kinds {
  name: Name;
  ino: number;
}

export interface StatFs {
  type: number;
  bsize: number;
  blocks: number;
  bfree: number;
  bavail: number;
  files: number;
  ffree: number;
  namelen: number;
}

/** What a watcher is told. Paths begin at what is watched; that itself has the empty one. Not valid UTF-8: bytes. */
export type WatchEvent =
  | {
      type: 'create' | 'delete' | 'modify' | 'attrib';
      path: Path;
      kind: Kind;
      ino: number;
      /** Whether it was done through this object. */
      own: boolean;
    }
  | { type: 'rename'; path: Path; from: Path; kind: Kind; ino: number; own: boolean }
  /** Changes were missed: anything may be different. */
  | { type: 'overflow' }
  /** The watch has ended. */
  | { type: 'error'; error: Error };

export interface WatchOptions {
  /** All that is below, too. */
  recursive?: boolean;
  /** Node: whether the watch keeps the process alive; it does unless said otherwise. */
  persistent?: boolean;
}

export interface Watcher {
  close(): void;
}

export interface FileLock {
  /** Others may have shared locks, too; otherwise nobody else has any. */
  shared?: boolean;
}

export interface RangeLock extends FileLock {
  /** The first byte; 0 unless said otherwise. */
  start?: number;
  /** How many bytes; 0, which it is unless said otherwise, means all to the end, wherever that will be. */
  length?: number;
}

export interface LockTimeout {
  /** Milliseconds to wait at most before ETIMEDOUT; unless said otherwise as long as it takes. */
  timeout?: number;
}

/** A lock that somebody has. */
export interface HeldLock {
  shared: boolean;
  start: number;
  /** 0: to the end. */
  length: number;
  /** The process as programs name it; -1 for a lock of an open file of a program. */
  pid: number;
}

export interface Follow {
  /** Whether a symlink that a path ends with is followed; it is unless said otherwise. */
  follow?: boolean;
}

type Encoding = 'utf8' | 'utf-8';
type ReadOptions = { flag?: Flags; encoding?: null };
type WriteOptions = Encoding | { flag?: Flags; mode?: Mode };

/** The methods; `promises` has the same with a promise of each result. */
interface Operations {
  open(path: Path, flags?: Flags, mode?: Mode): Handle;
  close(handle: Handle): void;
  /** Reads at a position, or at the handle's; gives how many bytes. */
  read(handle: Handle, buffer: ArrayBufferView | ArrayBuffer, offset?: number, length?: number, position?: number | null): number;
  write(handle: Handle, data: Data, offset?: number, length?: number, position?: number | null): number;
  write(handle: Handle, data: string, position?: number | null): number;
  pread(handle: Handle, buffer: ArrayBufferView | ArrayBuffer, position?: number): number;
  pwrite(handle: Handle, data: Data, position?: number): number;
  /** Of a handle: from its start, wherever its position is. */
  readFile(path: Path | Handle, options?: ReadOptions | null): Uint8Array;
  readFile(path: Path | Handle, options: Encoding | { flag?: Flags; encoding: Encoding }): string;
  writeFile(path: Path | Handle, data: Data, options?: WriteOptions): void;
  appendFile(path: Path | Handle, data: Data, options?: WriteOptions): void;
  stat(path: Path): Stats;
  lstat(path: Path): Stats;
  fstat(handle: Handle): Stats;
  exists(path: Path): boolean;
  readdir(path: Path, options?: Encoding | { encoding?: Encoding | null; withFileTypes?: false }): string[];
  readdir(path: Path, options: { encoding: 'buffer'; withFileTypes?: false }): Uint8Array[];
  readdir(path: Path, options: { encoding?: Encoding | null; withFileTypes: true }): Dirent[];
  readdir(path: Path, options: { encoding: 'buffer'; withFileTypes: true }): Dirent<Uint8Array>[];
  mkdir(path: Path, options?: Mode | { recursive?: boolean; mode?: Mode }): void;
  rmdir(path: Path): void;
  unlink(path: Path): void;
  rm(path: Path, options?: { recursive?: boolean; force?: boolean }): void;
  rename(from: Path, to: Path): void;
  link(from: Path, to: Path): void;
  symlink(target: Path, path: Path): void;
  readlink(path: Path, options?: Encoding | { encoding?: Encoding }): string;
  readlink(path: Path, options: 'buffer' | { encoding: 'buffer' }): Uint8Array;
  truncate(path: Path, size?: number): void;
  ftruncate(handle: Handle, size?: number): void;
  chmod(path: Path, mode: Mode): void;
  fchmod(handle: Handle, mode: Mode): void;
  chown(path: Path, uid: number | null, gid: number | null): void;
  lchown(path: Path, uid: number | null, gid: number | null): void;
  utimes(path: Path, atime: Time, mtime: Time): void;
  lutimes(path: Path, atime: Time, mtime: Time): void;
  futimes(handle: Handle, atime: Time, mtime: Time): void;
  /** Makes a file durable, as the volume's durability says. */
  fsync(handle: Handle): void;
  /** Makes everything durable, in relaxed volumes too. */
  sync(): void;
  statfs(): StatFs;

  /** Locks bytes if nobody's lock is in the way: whether it has. A handle's locks never stand in its own way. */
  tryLock(handle: Handle, options?: RangeLock): boolean;
  /** Waits for a lock on bytes. EDEADLK if that would be for ever, ETIMEDOUT; EAGAIN on a page's main thread, which has to await it. */
  lock(handle: Handle, options?: RangeLock & LockTimeout): void;
  unlock(handle: Handle, options?: RangeLock): void;
  /** The first lock that is in the way of such a one. */
  testLock(handle: Handle, options?: RangeLock): HeldLock | null;
  /** Locks a whole file, as flock(): has nothing to do with locks on bytes. Taken with the other mode the lock changes. */
  tryFlock(handle: Handle, options?: FileLock): boolean;
  /** Waits for a whole file. ETIMEDOUT; EAGAIN on a page's main thread, which has to await it. */
  flock(handle: Handle, options?: FileLock & LockTimeout): void;
  funlock(handle: Handle): void;

  getxattr(target: Path | Handle, name: Path, options?: Follow & { encoding?: null }): Uint8Array;
  getxattr(target: Path | Handle, name: Path, options: Encoding | (Follow & { encoding: Encoding })): string;
  /** All attributes of an inode have room in 4,064 bytes. create: EEXIST if it is there; replace: ENODATA if it is not. */
  setxattr(target: Path | Handle, name: Path, value: Data, options?: Follow & { create?: boolean; replace?: boolean }): void;
  listxattr(target: Path | Handle, options?: Encoding | (Follow & { encoding?: Encoding })): string[];
  listxattr(target: Path | Handle, options: Follow & { encoding: 'buffer' }): Uint8Array[];
  removexattr(target: Path | Handle, name: Path, options?: Follow): void;
}

/** Overloads of a method with promises of their results. */
type Later<F> = F extends {
  (...args: infer A1): infer R1;
  (...args: infer A2): infer R2;
  (...args: infer A3): infer R3;
  (...args: infer A4): infer R4;
}
  ? {
      (...args: A1): Promise<R1>;
      (...args: A2): Promise<R2>;
      (...args: A3): Promise<R3>;
      (...args: A4): Promise<R4>;
    }
  : never;

export type PromiseOperations = { [Name in keyof Operations]: Later<Operations[Name]> } & {
  watch(path: Path, options: WatchOptions, callback: (event: WatchEvent) => void): Promise<Watcher>;
  watch(path: Path, callback: (event: WatchEvent) => void): Promise<Watcher>;
};

/** A store with a mounted volume, and the file system in it. */
export interface SABFS extends Operations {
  /** To be handed to others, as a message or as `Module.sabfs.store`. */
  readonly store: Store;
  /** The volume's name. */
  readonly volume: string;
  readonly access: 'two-memory' | 'one-memory' | 'javascript';
  readonly promises: PromiseOperations;
  watch(path: Path, options: WatchOptions, callback: (event: WatchEvent) => void): Watcher;
  watch(path: Path, callback: (event: WatchEvent) => void): Watcher;
  stats(): {
    sizeBytes: number;
    freeBytes: number;
    capacityBytes: number;
    dirtyBlocks: number;
    inodes: number;
    commits: number;
    blocksWritten: number;
    flushes: number;
    durable: boolean;
  };
  /** docs/metrics.md explains each. */
  metrics(): Record<string, unknown>;
  /** Whether the browser keeps the origin's data; null where there is nobody to say. */
  persisted(): Promise<boolean | null>;
  /** Makes everything durable and leaves the store; who has made it closes the volume's files, too. */
  detach(): Promise<void>;
}

export const SABFS: {
  prototype: SABFS;
  /** Makes a store and opens a volume into it, which is made if it is not there. */
  create(options?: Options): Promise<SABFS>;
  /** As create(), for a volume that is there; ENOENT if it is not. */
  open(options?: Options): Promise<SABFS>;
  /** Attaches to a store with a volume: one that create() or open() gave, or a program's. */
  attach(store: Store, options?: Pick<Options, 'access' | 'keeper'>): Promise<SABFS>;
};
