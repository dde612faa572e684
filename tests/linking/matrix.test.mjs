// Each row of the matrix: a program is linked, makes files, and finds them when it is started anew.
//
//   $SABFS_NODE --test --test-name-pattern='port, .*-O3' tests/linking/matrix.test.mjs
import { describe, test } from 'node:test';
import { judge, judgeInChromium, lacks, link, noChromium, temporary } from './link.mjs';
import { ROWS, nameOf } from './matrix.mjs';

describe('the matrix', { concurrency: 2 }, () => {
  for (const row of ROWS.filter(({ long }) => !long || process.env.SABFS_LONG)) {
    const skip = lacks('emcc', ...(row.way === 'pkg-config' ? ['pkg-config'] : []));
    test(nameOf(row), { skip: skip || (row.chromium && noChromium()) }, async (t) => {
      const program = await link(temporary(t), row);
      await (row.chromium ? judgeInChromium(t, program) : judge(program, row));
    });
  }
});
