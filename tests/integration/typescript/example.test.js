// The examples of the package, as programs of their own.

'use strict';

const assert = require('node:assert/strict');
const {spawn} = require('node:child_process');
const {createHash} = require('node:crypto');
const {once} = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const {test} = require('node:test');
const {Consumer} = require('../../client_stubs/typescript/consumer.js');
const {FOLDER} = require('../../client_stubs/typescript/package.js');
const {ask, onlyConnection, start} = require('./running.js');

const options = {timeout: 120000};
const SESSIONS = {secret: {account: 'alice', plan: 'pro'}};

// The compiled examples, in a folder with a sessions.json.
function prepare(t) {
  const consumer = new Consumer(t);
  consumer.compile([path.join(FOLDER, 'examples')]);
  fs.writeFileSync(path.join(consumer.folder, 'sessions.json'), JSON.stringify(SESSIONS));
  return consumer.folder;
}

// A running example; `says` waits for a line, and returns how it matches.
function run(t, folder, program, argument) {
  const example = spawn(process.execPath, [program, 'sessions.json', argument],
    {cwd: folder, stdio: ['ignore', 'pipe', 'inherit']});
  t.after(() => example.kill('SIGKILL'));
  const exited = once(example, 'exit');
  const lines = readline.createInterface({input: example.stdout})[Symbol.asyncIterator]();
  const says = async (wanted) => {
    for (;;) {
      const {value, done} = await lines.next();
      if (done) assert.fail(`it never says ${wanted}`);
      const match = wanted.exec(value);
      if (match) return match;
    }
  };
  return {says, exited, kill: (signal) => example.kill(signal)};
}

test('the example service', options, async (t) => {
  const folder = prepare(t);
  const {broker, client} = await start(t, {config: {endpoints: [{path: '/ws', ways: ['ATTACH']}]}});
  const service = run(t, folder, 'service.js', broker.control);
  await service.says(/^attached$/);

  const stranger = await broker.connect(undefined, {headers: {Cookie: 'session=guessed'}});
  assert.deepEqual(await stranger.closed, {code: 4006, reason: 'log in first'});
  const socket = await broker.connect(undefined, {headers: {Cookie: 'session=secret'}});
  const progress = [];
  const created = await ask(socket, 'orders.create', {sku: 'coffee'}, progress);
  assert.deepEqual(created.result, {account: 'alice', sku: 'coffee'});
  assert.deepEqual(progress.map(({method}) => method), ['orders.progress']);
  assert.deepEqual((await ask(socket, 'orders.create', {sku: 'coffee'})).error,
    {code: 1, message: 'Out of stock', data: {sku: 'coffee'}});
  assert.deepEqual((await client.countConnections({filter: 'labels.plan = "pro"'})), {count: 1n});

  socket.send('{"jsonrpc":"2.0","method":"session.close"}');
  assert.equal((await socket.closed).code, 4001);
  await service.says(/^alice left: CAUSE_REVOKED 4001$/);
  service.kill('SIGTERM');
  assert.deepEqual(await service.exited, [0, null]);
});

test('the example that the broker asks', options, async (t) => {
  const authenticator = run(t, prepare(t), 'authenticator.js', '0');
  const [, target] = await authenticator.says(/^listening on (.*)$/);
  const {broker, client} = await start(t, {config: {endpoints: [{path: '/ws', ways: ['CALLOUT']}], callout: {target}}});
  await broker.connect(undefined, {headers: {Cookie: 'session=secret'}});
  const {identity} = await onlyConnection(client);
  assert.deepEqual([identity.accountId, identity.labels], ['alice', {plan: 'pro'}]);
  assert.equal(identity.tokenHash, createHash('sha256').update('secret').digest('hex'));
  await assert.rejects(broker.connect(undefined, {headers: {Cookie: 'session=guessed'}}), {status: 401});
});
