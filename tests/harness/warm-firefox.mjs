// warm-firefox.mjs FOLDER: makes the folder with what Firefox has compiled of its own code, for SABFS_FIREFOX_STARTUP_CACHE.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { launch } from './browser.mjs';

const folder = path.resolve(process.argv[2]);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-profile-'));
try {
  const browser = await launch({ browser: 'firefox', profile });
  await browser.goto('about:blank');
  // It writes the cache when it ends in order.
  await browser.close();
  // Under its name only when it is whole: several may be at it.
  const copy = `${folder}.${process.pid}`;
  fs.mkdirSync(path.dirname(folder), { recursive: true });
  fs.cpSync(path.join(profile, 'startupCache'), copy, { recursive: true });
  if (fs.existsSync(folder)) fs.rmSync(copy, { recursive: true });
  else fs.renameSync(copy, folder);
} finally {
  fs.rmSync(profile, { recursive: true, force: true });
}
