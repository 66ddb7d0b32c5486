// The package as such: what is in it, who can load it, and its types.

'use strict';

const assert = require('node:assert/strict');
const {execFileSync} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const {test} = require('node:test');
const {Consumer} = require('./consumer.js');
const {FOLDER} = require('./package.js');

const options = {timeout: 120000};

test('has what is needed and nothing else', options, () => {
  const [{files}] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'],
    {cwd: FOLDER, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore']}));
  const names = files.map((file) => file.path);
  for (const needed of ['README.md', 'package.json', 'dist/index.js', 'dist/index.d.ts',
    'dist/generated/socketbroker/v1/attach.d.ts']) {
    assert.ok(names.includes(needed), `${needed} is missing`);
  }
  const others = names.filter((name) => !/^(README\.md|package\.json|dist\/.*(\.js|\.d\.ts))$/.test(name));
  assert.deepEqual(others, []);
});

test('its lock file names no registry', options, () => {
  const lock = fs.readFileSync(path.join(FOLDER, 'package-lock.json'), 'utf8');
  assert.ok(!lock.includes('"resolved"'));
});

test('ES modules can import it', options, (t) => {
  const said = new Consumer(t).run('import {Client, Service, v1} from "@socket-broker/client";'
    + 'console.log(typeof Client, typeof Service, typeof v1.Identity.encode);');
  assert.equal(said, 'function function function\n');
});

for (const [module, resolution] of [['node16', 'node16'], ['commonjs', 'node10']]) {
  test(`its types are right with the resolution ${resolution}, and its examples`, options, (t) => {
    new Consumer(t).compile([__dirname, path.join(FOLDER, 'examples')], module, resolution);
  });
}
