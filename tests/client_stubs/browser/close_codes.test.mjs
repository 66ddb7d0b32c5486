// The table of close codes, and what the connection does about each.

import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {test} from 'node:test';
import {CLOSE_CODES, ConnectionError} from '../../../client_stubs/browser/socketbroker.js';
import {connect, open, settled, stateOf, tick} from './testing.mjs';

const ticket = async () => 'secret';

// How close-codes.md says it, in the words of the module.
function wayOf(code, text) {
  if (code === '4001') return 'never';  // unless the application has it otherwise
  if (code === '4002') return 'at once';  // the client's own
  if (text === 'when the user wants to' || text.startsWith('no')) return 'never';
  return {
    'yes, at once': 'at once',
    'yes, with jitter': 'jitter',
    'yes, later, with jitter': 'later',
    'after fresh authentication': 'reauthenticate',
  }[text];
}

test('the table is that of close-codes.md', () => {
  const page = readFileSync(new URL('../../../broker/docs/close-codes.md', import.meta.url), 'utf8');
  const documented = {1006: 'jitter'};
  for (const [, code, way] of page.matchAll(/^\| (\d{4}) \|.*\|([^|]*)\|$/gm)) {
    documented[code] = wayOf(code, way.trim());
  }
  assert.ok(Object.keys(documented).length > 15);
  assert.deepEqual({...CLOSE_CODES}, documented);
});

test('a code that nobody knows is as a lost connection', async (t) => {
  const {socket, log} = await open(t);
  socket().end(4999, 'odd');
  assert.deepEqual([log[0].type, log[0].closeCode, log[0].closeReason, log[0].delay], ['waiting', 4999, 'odd', 250]);
});

for (const [code, way] of Object.entries(CLOSE_CODES)) {
  test(`${code}: ${way}`, async (t) => {
    const {connection, socket, sockets, types, log} = await open(t, {ticket});
    socket().end(Number(code), 'why');
    if (way === 'never') {
      assert.deepEqual(log[0].type, 'closed');
      assert.deepEqual([log[0].closeCode, log[0].closeReason], [Number(code), 'why']);
      assert.equal(log[0].error.code, code === '4001' ? 'unauthenticated' : 'closed');
      await tick(3_600_000);
      assert.equal(sockets.length, 1);
      assert.equal(connection.state, 'closed');
      return;
    }
    const delay = {'at once': 0, jitter: 250, reauthenticate: 250, later: 22_500}[way];
    assert.equal(log[0].delay, delay);
    assert.equal(connection.state, 'waiting');
    if (delay > 0) await tick(delay - 1);
    assert.equal(sockets.length, 1);
    await tick(1);
    assert.equal(sockets.length, 2);
    socket().open();
    assert.deepEqual(types(), ['waiting', 'connecting', 'open']);
  });
}

test('the waits grow to 30 s, and are anything up to that', async (t) => {
  const {socket, log} = await connect(t, {random: 1});
  const delays = [];
  for (let n = 0; n < 9; ++n) {
    socket().end();
    delays.push(log.at(-1).delay);
    await tick(log.at(-1).delay);
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test('jitter may be nothing at all', async (t) => {
  const {socket, log} = await connect(t, {random: 0});
  socket().end();
  assert.equal(log.at(-1).delay, 0);
});

test('the waits start again after a connection that stood a while, and only then', async (t) => {
  const {socket, log} = await connect(t, {random: 1, stableAfter: 10_000});
  const lose = async (after) => {
    socket().open();
    await tick(after);
    socket().end();
    const {delay} = log.at(-1);
    await tick(delay);
    return delay;
  };
  assert.equal(await lose(9999), 500);
  assert.equal(await lose(9999), 1000);
  assert.equal(await lose(10_000), 500);
});

test('at once is not again and again', async (t) => {
  const {socket, log} = await open(t, {random: 1});
  socket().end(4003);
  assert.equal(log.at(-1).delay, 0);
  await tick(0);
  socket().open();
  socket().end(4003);
  assert.equal(log.at(-1).delay, 1000);
});

test('later is 15 to 30 s', async (t) => {
  for (const [random, delay] of [[0, 15_000], [1, 30_000]]) {
    await t.test(`${delay}`, async (t) => {
      const {socket, log} = await open(t, {random});
      socket().end(4029);
      assert.equal(log.at(-1).delay, delay);
    });
  }
});

test('the application may have it otherwise', async (t) => {
  const {socket, log} = await open(t, {ticket, closeCodes: {4006: 'never', 4100: 'later'}});
  socket().end(4100);
  assert.equal(log.at(-1).delay, 22_500);
  await tick(22_500);
  socket().open();
  socket().end(4006);
  assert.equal(log.at(-1).type, 'closed');
});

test('revoked: terminal, told, and every request fails', async (t) => {
  const {connection, socket, types, log} = await open(t, {ticket});
  const request = connection.request('m');
  socket().end(4001, 'Session revoked');
  const {error} = await stateOf(request);
  assert.deepEqual([error.name, error.code, error.sent], ['ConnectionError', 'unauthenticated', true]);
  assert.equal(log[1].closeReason, 'Session revoked');
  assert.deepEqual(types(), ['closed', 'revoked']);
  await assert.rejects(connection.request('m'), {code: 'closed'});
  assert.throws(() => connection.notify('m'), {code: 'closed'});
});

test('revoked, and the application logs in again', async (t) => {
  const {connection, socket, types} = await open(t, {ticket});
  connection.addEventListener('revoked', () => connection.connect());
  socket().end(4001);
  await settled();
  socket().open();
  assert.deepEqual(types(), ['closed', 'revoked', 'connecting', 'open']);
  assert.equal((await stateOf(connection.request('m'))), 'pending');
});

test('revoked, and the application has it reconnect: nothing of before is sent', async (t) => {
  let session = 'old';
  const {connection, socket, types} = await connect(t, {
    ticket: async () => session, closeCodes: {4001: 'reauthenticate'}});
  const waiting = connection.request('said-as-old');
  connection.notify('said-as-old');
  session = 'new';
  socket().end(4001);
  assert.equal((await stateOf(waiting)).error.code, 'unauthenticated');
  await tick(250);
  socket().open();
  assert.deepEqual(socket().protocols, ['socketbroker.v1', 'ticket.new']);
  assert.deepEqual(types(), ['waiting', 'revoked', 'connecting', 'open']);
  assert.deepEqual(socket().take(), []);
});

test('fresh authentication that is refused ends it', async (t) => {
  let refuse = false;
  const failure = new Error('log in');
  const {connection, socket, sockets, log} = await open(t, {
    ticket: async () => { if (refuse) throw failure; return 'secret'; }});
  refuse = true;
  socket().end(4005);
  const waiting = connection.request('m');
  await tick(250);
  assert.equal(connection.state, 'closed');
  const {error} = log.at(-1);
  assert.deepEqual([log.at(-1).type, error.code, error.cause], ['closed', 'unauthenticated', failure]);
  assert.deepEqual((await stateOf(waiting)).error.code, 'unauthenticated');
  assert.equal(sockets.length, 1);
});

test('fresh authentication stays due until a socket is open', async (t) => {
  let refuse = false;
  const {connection, socket} = await open(t, {
    ticket: async () => { if (refuse) throw new Error('log in'); return 'secret'; }});
  socket().end(4005);
  await tick(250);
  socket().end(1006);
  refuse = true;
  await tick(500);
  assert.equal(connection.state, 'closed');
});

test('fresh authentication is over once a socket is open', async (t) => {
  let refuse = false;
  const {connection, socket} = await open(t, {
    ticket: async () => { if (refuse) throw new Error('offline'); return 'secret'; }});
  socket().end(4005);
  await tick(250);
  socket().open();
  refuse = true;
  socket().end();
  await tick(500);
  assert.equal(connection.state, 'waiting');
});

test('fresh authentication where there is no ticket provider ends it', async (t) => {
  const {socket, log} = await open(t);
  socket().end(4006, 'log in first');
  assert.deepEqual([log[0].type, log[0].error.code, log[0].closeReason], ['closed', 'unauthenticated', 'log in first']);
});

test('a provider may say at any time that there is nobody', async (t) => {
  const {log, sockets} = await connect(t, {
    ticket: async () => { throw new ConnectionError('unauthenticated', 'log in'); }});
  assert.deepEqual([log.at(-1).type, log.at(-1).error.code], ['closed', 'unauthenticated']);
  assert.equal(sockets.length, 0);
});

test('that is said by a ConnectionError, and by no other error', async (t) => {
  const {connection} = await connect(t, {
    ticket: async () => { throw Object.assign(new Error('HTTP 500'), {code: 'unauthenticated'}); }});
  assert.equal(connection.state, 'waiting');
});
