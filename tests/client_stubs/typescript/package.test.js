// The package as such: what is in it, who can load it, and its types.

'use strict';

const assert = require('node:assert/strict');
const {execFileSync} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
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

// What the README takes for granted.
const PRELUDE = `
declare const sessions: {
  lookUp(cookie: string): Promise<{account: string; hash: string}>;
  find(cookies: {name: string; value: string}[]): Promise<{account: string; hash: string} | undefined>;
};
declare const [cookie, hash, connectionId]: string[];
declare const requests: Iterable<{}>;
`;

test('its types are right, and its examples and those of the README', options, (t) => {
  const readme = fs.readFileSync(path.join(FOLDER, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code);
  assert.equal(blocks.length, 4);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'readme-'));
  t.after(() => fs.rmSync(folder, {recursive: true}));
  fs.writeFileSync(path.join(folder, 'readme.mts'), blocks.join('\n') + PRELUDE);
  new Consumer(t).compile([__dirname, path.join(FOLDER, 'examples'), folder]);
});

test('its types are right with the older resolution of modules', options, (t) => {
  new Consumer(t).compile([__dirname], 'commonjs', 'node10');
});
