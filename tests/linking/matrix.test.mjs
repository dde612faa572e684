// Each row of the matrix: a program is linked, makes files, and finds them when it is started anew.
import { test } from 'node:test';
import { judge, lacks, link, temporary } from './link.mjs';
import { ROWS, nameOf } from './matrix.mjs';

test('the matrix', { concurrency: 2 }, async (t) => {
  const rows = ROWS.filter(({ long }) => !long || process.env.SABFS_LONG);
  await Promise.all(
    rows.map((row) => {
      const skip = lacks('emcc', ...(row.way === 'pkg-config' ? ['pkg-config'] : []));
      return t.test(nameOf(row), { skip }, async (t) => judge(await link(temporary(t), row), row));
    }),
  );
});
