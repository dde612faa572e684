// Lua's io and os libraries at /opfs: scripts print what they print on Linux.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { both, KINDS, skip, where } from './places.mjs';

// Lua takes what begins with two dashes for an option.
const script = (name) => ` ${fs.readFileSync(path.join(import.meta.dirname, 'lua', `${name}.lua`), 'utf8')}`;

for (const kind of KINDS) {
  test(`Lua (${kind}) in ${where}`, { skip: skip('lua') }, async (t) => {
    const { volume, same } = await both(t, kind);
    for (const name of ['files', 'system', 'bulk', 'again']) {
      await t.test(name, async () => {
        const { code, stderr } = await same('lua', ['-e', script(name)]);
        assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
      });
    }

    await t.test('there are no other processes, and that is said', async () => {
      const text = `print((io.popen('true')))`;
      assert.deepEqual(await volume.run('lua', ['-e', text]), { code: 0, stdout: 'nil\n', stderr: '' });
    });

    await t.test('what the program ends with', async () => {
      assert.equal((await same('lua', ['-e', `io.open('left', 'w'):write('at the end') os.exit(7, true)`])).code, 7);
      assert.equal((await same('lua', ['-e', `error('wrong')`])).code, 1);
      assert.equal((await same('lua', ['nothing.lua'])).code, 1);
      assert.equal((await same('lua', ['-e', `print(io.open('left'):read('a'))`])).stdout, 'at the end\n');
    });
  });
}
