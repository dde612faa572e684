// For --require: writes down which folders are flushed, in whichever thread.
const fs = require('node:fs');

const { fsyncSync } = fs;
fs.fsyncSync = (descriptor) => {
  if (fs.fstatSync(descriptor).isDirectory()) {
    fs.appendFileSync(process.env.SABFS_RECORD, `${fs.readlinkSync(`/proc/self/fd/${descriptor}`)}\n`);
  }
  fsyncSync(descriptor);
};
