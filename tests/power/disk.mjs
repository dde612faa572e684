// A disk with a volatile cache, as an NBD server for QEMU: what was written since the last flush is lost when the
// power fails, but for what the drive happened to have written back already.
import fs from 'node:fs';
import net from 'node:net';

const SECTOR = 512;
const OPTION = { exportName: 1, abort: 2, info: 6, go: 7 };
const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3 };
const HAS_FLAGS = 1, SEND_FLUSH = 4;
const EINVAL = 22;
const CLOSED = new Error('the connection was closed');

export class Disk {
  #stable;
  #seen;
  // In the order in which they came: {at, bytes}.
  #unflushed = [];
  #sockets = new Set();
  #server;
  #hasPower = true;
  #trap;
  flushes = 0;
  writes = 0;
  // A disk that lies says that it has flushed, and has not.
  lies = false;

  constructor(bytes) {
    this.#stable = bytes;
    this.#seen = Buffer.from(bytes);
  }

  /** Serves the disk at a socket of the host. */
  async serve(path) {
    fs.rmSync(path, { force: true });
    this.#server = net.createServer((socket) => {
      this.#sockets.add(socket);
      // QEMU is killed in the middle of whatever it does.
      socket.on('error', () => {});
      socket.on('close', () => this.#sockets.delete(socket));
      this.#talk(socket).catch((error) => {
        if (error !== CLOSED) console.error(error);
        socket.destroy();
      });
    });
    await new Promise((resolve, reject) => this.#server.once('error', reject).listen(path, resolve));
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => (this.#server ? this.#server.close(resolve) : resolve()));
  }

  /** Resolves at the so manyth of these commands ("write" or "flush"), of which nobody hears any more: the power has failed. */
  failAt(name, count) {
    return new Promise((resolve) => (this.#trap = { command: COMMAND[name], count, resolve }));
  }

  /**
   * The power fails: from now on nothing is answered. Each sector of each write since the last flush is lost, or not, as
   * `survives(write, sector)` says; gives how many there were and how many are left.
   */
  fail(survives) {
    // The connection stays: the guest must not see errors, only silence.
    this.#hasPower = false;
    this.#trap = undefined;
    const told = { writes: this.#unflushed.length, sectors: 0, left: 0 };
    this.#unflushed.forEach(({ at, bytes }, write) => {
      for (let from = 0; from < bytes.length; from += SECTOR) {
        told.sectors++;
        if (!survives(write, from / SECTOR)) continue;
        told.left++;
        bytes.copy(this.#stable, at + from, from, Math.min(from + SECTOR, bytes.length));
      }
    });
    this.#unflushed = [];
    this.#stable.copy(this.#seen);
    return told;
  }

  /** For the next machine; what was connected before the power failed is not listened to any more. */
  powerOn() {
    for (const socket of this.#sockets) socket.destroy();
    this.#hasPower = true;
  }

  async #talk(socket) {
    const take = reader(socket);
    if (!(await this.#agree(socket, take))) return;
    for (;;) {
      const header = await take(28);
      const command = header.readUInt16BE(6), at = Number(header.readBigUInt64BE(16)), length = header.readUInt32BE(24);
      const bytes = command === COMMAND.write ? await take(length) : undefined;
      if (this.#trap?.command === command && --this.#trap.count === 0) {
        this.#hasPower = false;
        // Some of its sectors may be written yet.
        if (bytes) this.#write(at, bytes);
        this.#trap.resolve();
      }
      if (!this.#hasPower) return;
      if (command === COMMAND.disconnect) return void socket.end();
      const reply = Buffer.alloc(16);
      reply.writeUInt32BE(0x67446698, 0);
      header.copy(reply, 8, 8, 16);
      const isInside = at + length <= this.#seen.length;
      if (command === COMMAND.flush) this.#flush();
      else if (command === COMMAND.write && isInside) this.#write(at, bytes);
      else if (command !== COMMAND.read || !isInside) reply.writeUInt32BE(EINVAL, 4);
      else {
        socket.write(Buffer.concat([reply, this.#seen.subarray(at, at + length)]));
        continue;
      }
      socket.write(reply);
    }
  }

  #write(at, bytes) {
    this.writes++;
    bytes.copy(this.#seen, at);
    this.#unflushed.push({ at, bytes });
  }

  #flush() {
    this.flushes++;
    if (this.lies) return;
    for (const { at, bytes } of this.#unflushed) bytes.copy(this.#stable, at);
    this.#unflushed = [];
  }

  // The fixed newstyle handshake; false when the client only looked.
  async #agree(socket, take) {
    const hello = Buffer.from('NBDMAGICIHAVEOPT\0\x03', 'latin1');
    socket.write(hello);
    const withoutZeroes = (await take(4)).readUInt32BE(0) & 2;
    const flags = HAS_FLAGS | SEND_FLUSH;
    for (;;) {
      const header = await take(16);
      const option = header.readUInt32BE(8), length = header.readUInt32BE(12);
      if (length > 0) await take(length);
      const answer = (type, data = Buffer.alloc(0)) => {
        const reply = Buffer.alloc(20);
        reply.writeBigUInt64BE(0x3e889045565a9n, 0);
        reply.writeUInt32BE(option, 8);
        reply.writeUInt32BE(type, 12);
        reply.writeUInt32BE(data.length, 16);
        socket.write(Buffer.concat([reply, data]));
      };
      const description = Buffer.alloc(10);
      description.writeBigUInt64BE(BigInt(this.#seen.length), 0);
      description.writeUInt16BE(flags, 8);
      if (option === OPTION.exportName) {
        socket.write(withoutZeroes ? description : Buffer.concat([description, Buffer.alloc(124)]));
        return true;
      }
      if (option === OPTION.info || option === OPTION.go) {
        answer(3, Buffer.concat([Buffer.alloc(2), description]));
        answer(1);
        if (option === OPTION.go) return true;
      } else if (option === OPTION.abort) {
        answer(1);
        socket.end();
        return false;
      } else {
        // Not known here.
        answer(0x80000001);
      }
    }
  }
}

// Gives exactly as many bytes of a socket as are asked for.
function reader(socket) {
  let chunks = [], held = 0, wanted;
  const serve = () => {
    if (!wanted || held < wanted.length) return;
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    const { length, resolve } = wanted;
    wanted = undefined;
    chunks = all.length > length ? [all.subarray(length)] : [];
    held = all.length - length;
    resolve(all.subarray(0, length));
  };
  socket.on('data', (chunk) => {
    chunks.push(chunk);
    held += chunk.length;
    serve();
  });
  let over = false;
  socket.on('close', () => {
    over = true;
    wanted?.reject(CLOSED);
  });
  return (length) =>
    new Promise((resolve, reject) => {
      if (over) return void reject(CLOSED);
      wanted = { length, resolve, reject };
      serve();
    });
}
