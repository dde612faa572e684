// The same in Node 20, which has one memory per module.
import { testMounts } from './mounts.mjs';

testMounts('20', process.env.SABFS_NODE20);
