// A server that is silent is noticed, and one that is not is left alone.

import assert from 'node:assert/strict';
import {mock, test} from 'node:test';
import {open, settled, stateOf, tick} from './testing.mjs';

const heartbeat = {method: 'ping', interval: 30_000, timeout: 10_000};

test('there is none unless it is asked for', async (t) => {
  const {connection, socket} = await open(t);
  await tick(3_600_000);
  assert.deepEqual(socket().take(), []);
  assert.equal(connection.state, 'open');
});

test('a silent server: 4002, at once, and what was asked fails', async (t) => {
  const {connection, sockets, log} = await open(t, {heartbeat, timeout: Infinity});
  await tick(15_000);
  const request = connection.request('m');
  const [socket] = sockets;
  socket.take();
  await tick(14_999);
  assert.deepEqual(socket.take(), []);
  await tick(1);
  assert.deepEqual(socket.take(), [{jsonrpc: '2.0', id: 2, method: 'ping'}]);
  await tick(9999);
  assert.equal(connection.state, 'open');
  await tick(1);
  assert.deepEqual(socket.closes, [[4002, 'Server silent']]);
  assert.equal((await stateOf(request)).error.code, 'disconnected');
  assert.deepEqual([log[0].type, log[0].closeCode, log[0].delay], ['waiting', 4002, 0]);
  await tick(0);
  assert.equal(sockets.length, 2);
  // What the dead socket still says is nobody's business.
  socket.receive({method: 'late'});
  socket.end(1006);
  assert.equal(connection.state, 'connecting');
});

for (const [name, message] of Object.entries({
  'its reply': {id: 1, result: null},
  'an error for it': {id: 1, error: {code: -32601, message: 'Method not found'}},
  'any notification': {method: 'news'},
  'even nonsense': '{',
})) {
  test(`${name} is a sign of life`, async (t) => {
    const {connection, socket} = await open(t, {heartbeat});
    await tick(30_000);
    assert.equal(socket().take().length, 1);
    await tick(9999);
    socket().receive(message);
    await tick(29_999);
    assert.deepEqual(socket().take(), []);
    assert.equal(connection.state, 'open');
    await tick(1);
    assert.equal(socket().take().length, 1);
  });
}

test('a server that talks is not asked', async (t) => {
  const {socket} = await open(t, {heartbeat});
  for (let n = 0; n < 10; ++n) {
    await tick(29_999);
    socket().receive({method: 'news'});
  }
  assert.deepEqual(socket().take(), []);
});

test('a page that slept asks again before it judges', async (t) => {
  const {connection, socket, log} = await open(t, {heartbeat});
  await tick(30_000);
  socket().take();
  const now = Date.now();
  mock.method(Date, 'now', () => now + 3_600_000);
  await tick(10_000);
  assert.equal(connection.state, 'open');
  assert.deepEqual(socket().take().map(({method}) => method), ['ping']);
  await tick(10_000);
  assert.equal(log[0].closeCode, 4002);
});

test('it has defaults, and ends with the connection', async (t) => {
  const {connection, socket} = await open(t, {heartbeat: {method: 'ping'}});
  await tick(29_999);
  assert.deepEqual(socket().take(), []);
  await tick(1);
  assert.equal(socket().take().length, 1);
  connection.close();
  await tick(3_600_000);
  await settled();
  assert.equal(connection.state, 'closed');
});
