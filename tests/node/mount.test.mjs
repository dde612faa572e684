// Mounting in the newest Node: every way to reach the store, what persists, and when a process ends.
import { testMounts } from './mounts.mjs';

testMounts('22', process.env.SABFS_NODE ?? process.execPath);
