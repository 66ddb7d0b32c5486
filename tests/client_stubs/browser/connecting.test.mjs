// Tickets, states, and what the page tells.

import assert from 'node:assert/strict';
import {getEventListeners} from 'node:events';
import {test} from 'node:test';
import {Connection} from '../../../client_stubs/browser/socketbroker.js';
import {FakeWebSocket, connect, open, settled, stateOf, tick} from './testing.mjs';

test('a ticket before each connect, presented as a subprotocol', async (t) => {
  let tickets = 0;
  const {connection, socket, sockets, types} = await connect(t, {ticket: async () => `t${++tickets}`});
  assert.equal(connection.state, 'connecting');
  assert.equal(socket().url, 'ws://broker.test/ws');
  assert.deepEqual(socket().protocols, ['socketbroker.v1', 'ticket.t1']);
  socket().open();
  assert.equal(connection.state, 'open');
  socket().end();
  assert.equal(connection.state, 'waiting');
  await tick(250);
  assert.deepEqual(socket().protocols, ['socketbroker.v1', 'ticket.t2']);
  assert.equal(sockets.length, 2);
  assert.deepEqual(types(), ['open', 'waiting', 'connecting']);
});

test('without a provider it connects as it is', async (t) => {
  const {socket} = await connect(t);
  assert.equal(socket().protocols, undefined);
});

test('a provider that fails is asked again, and told of', async (t) => {
  let asked = 0;
  const failure = new Error('offline');
  const {sockets, log} = await connect(t, {ticket: async () => { if (++asked < 3) throw failure; return 't'; }});
  assert.deepEqual(log.map((event) => event.type), ['waiting', 'error']);
  assert.equal(log[1].error, failure);
  await tick(250);
  assert.equal(asked, 2);
  assert.equal(log.at(-2).delay, 500);
  await tick(500);
  assert.equal(sockets.length, 1);
});

for (const [name, value] of [['an empty string', ''], ['nothing', undefined], ['an object', {ticket: 't'}]]) {
  test(`a provider that gives ${name} fails`, async (t) => {
    const {sockets, log} = await connect(t, {ticket: async () => value});
    assert.match(log.at(-1).error.message, /^ticket is .*it must be a string$/);
    assert.equal(sockets.length, 0);
  });
}

test('a provider that throws is as one that rejects', async (t) => {
  const {log} = await connect(t, {ticket: () => { throw new Error('at once'); }});
  assert.equal(log.at(-1).error.message, 'at once');
});

test('a socket that does not open in time is given up', async (t) => {
  const {connection, socket, sockets, log} = await connect(t, {connectTimeout: 5000});
  const [first] = sockets;
  await tick(4999);
  assert.equal(connection.state, 'connecting');
  await tick(1);
  assert.deepEqual([connection.state, log.at(-1).closeCode], ['waiting', 1006]);
  assert.deepEqual(first.closes, [[]]);
  await tick(250);
  socket().open();
  first.open();
  first.end();
  assert.equal(connection.state, 'open');
});

test('a provider that does not answer in time is given up, and its ticket left alone', async (t) => {
  const answers = [];
  let given;
  const {connection, sockets} = await connect(t, {
    connectTimeout: 5000,
    ticket: ({signal}) => { given = signal; return new Promise((resolve) => answers.push(resolve)); }});
  assert.equal(given.aborted, false);
  const [signal] = [given];
  await tick(5000);
  assert.equal(signal.aborted, true);
  assert.equal(connection.state, 'waiting');
  await tick(250);
  answers[0]('late');
  await settled();
  assert.equal(sockets.length, 0);
  answers[1]('in-time');
  await settled();
  assert.deepEqual(sockets[0].protocols, ['socketbroker.v1', 'ticket.in-time']);
});

test('close() ends it in every state', async (t) => {
  for (const state of ['connecting', 'open', 'waiting']) {
    await t.test(state, async (t) => {
      const {connection, socket, sockets, types, log} = await connect(t);
      if (state !== 'connecting') socket().open();
      if (state === 'waiting') socket().end();
      assert.equal(connection.state, state);
      connection.close();
      connection.close();
      assert.deepEqual([log.at(-1).type, log.at(-1).error.code], ['closed', 'closed']);
      assert.equal(types().filter((type) => type === 'closed').length, 1);
      assert.deepEqual(socket().closes, [state === 'waiting' ? [] : [1000]]);
      await tick(3_600_000);
      assert.equal(sockets.length, 1);
    });
  }
});

test('close() while the ticket is awaited: no socket', async (t) => {
  let give;
  const {connection, sockets} = await connect(t, {ticket: () => new Promise((resolve) => { give = resolve; })});
  connection.close();
  give('t');
  await settled();
  assert.equal(sockets.length, 0);
});

test('close() by who listens to connecting and waiting', async (t) => {
  for (const type of ['connecting', 'waiting']) {
    await t.test(type, async (t) => {
      const {connection, socket, sockets} = await open(t);
      connection.addEventListener(type, () => connection.close());
      socket().end();
      await tick(3_600_000);
      assert.equal(connection.state, 'closed');
      assert.equal(sockets.length, 1);
    });
  }
});

test('connect() does not wait, and opens what is closed', async (t) => {
  const {connection, socket, sockets} = await open(t);
  connection.connect();
  assert.equal(sockets.length, 1);
  socket().end();
  connection.connect();
  await settled();
  assert.equal(sockets.length, 2);
  socket().open();
  await tick(1000);
  assert.equal(sockets.length, 2);
  connection.close();
  connection.connect();
  await settled();
  socket().open();
  assert.equal(connection.state, 'open');
});

test('connect() on what is closed starts anew', async (t) => {
  let refuse = false;
  const {connection, socket, log} = await open(t, {
    ticket: async () => { if (refuse) throw new Error('offline'); return 't'; }});
  for (let n = 0; n < 3; ++n) {
    socket().end();
    await tick(log.at(-1).delay);
  }
  socket().end(4005);
  connection.close();
  refuse = true;
  connection.connect();
  await settled();
  assert.deepEqual(log.slice(-2).map(({type}) => type), ['waiting', 'error']);
  assert.equal(log.at(-2).delay, 250);
});

test('relative URLs and http are taken', async (t) => {
  globalThis.location = {href: 'https://app.test/page'};
  t.after(() => delete globalThis.location);
  const {socket} = await connect(t, {url: '/ws?x=1'});
  assert.equal(socket().url, 'wss://app.test/ws?x=1');
});

for (const [field, options] of Object.entries({
  url: {url: 'ftp://broker.test'},
  ticket: {ticket: 'secret'},
  timeout: {timeout: 0},
  connectTimeout: {connectTimeout: '5'},
  stableAfter: {stableAfter: NaN},
  maxQueue: {maxQueue: 1.5},
  cancelMethod: {cancelMethod: null},
  WebSocket: {WebSocket: null},
  'closeCodes\\[4001\\]': {closeCodes: {4001: 'sometimes'}},
  'heartbeat.method': {heartbeat: {}},
  'heartbeat.interval': {heartbeat: {method: 'ping', interval: -1}},
})) {
  test(`a wrong ${field} is named`, () => {
    const make = () => new Connection({url: 'ws://broker.test', WebSocket: FakeWebSocket, ...options});
    assert.throws(make, {name: 'TypeError', message: new RegExp(`^${field} is .*it must be `)});
  });
}

// A page that can be told what happens to it.
function page(t) {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), {hidden: false});
  globalThis.addEventListener = page.addEventListener.bind(page);
  globalThis.document = document;
  t.after(() => {
    delete globalThis.addEventListener;
    delete globalThis.document;
  });
  return {
    tell: (type) => page.dispatchEvent(new Event(type)),
    listeners: (type) => getEventListeners(page, type).length + getEventListeners(document, type).length,
    show: (visible) => {
      document.hidden = !visible;
      document.dispatchEvent(new Event('visibilitychange'));
    },
  };
}

test('online, and being seen, end the wait and start it anew', async (t) => {
  const {tell, show, listeners} = page(t);
  const {connection, socket, sockets, log} = await connect(t);
  for (const wake of [() => tell('online'), () => show(true)]) {
    for (let n = 0; n < 5; ++n) {
      socket().end();
      await tick(log.at(-1).delay);
    }
    socket().end();
    const before = sockets.length;
    show(false);
    tell('offline');
    await settled();
    assert.equal(sockets.length, before);
    wake();
    await settled();
    assert.equal(sockets.length, before + 1);
    socket().end();
    assert.equal(log.at(-1).delay, 250);
    await tick(250);
  }
  connection.close();
  assert.deepEqual([listeners('online'), listeners('offline'), listeners('visibilitychange')], [0, 0, 0]);
});

test('what was told to come later does not come sooner', async (t) => {
  const {tell} = page(t);
  const {socket, sockets} = await open(t);
  socket().end(1013);
  tell('online');
  await settled();
  assert.equal(sockets.length, 1);
});

test('online does not disturb what is open', async (t) => {
  const {tell} = page(t);
  const {connection, socket} = await open(t);
  const request = connection.request('m');
  tell('online');
  tell('offline');
  assert.equal(connection.state, 'open');
  assert.equal(socket().take().length, 1);
  assert.equal(await stateOf(request), 'pending');
});

for (const change of ['online', 'offline']) {
  test(`${change} asks whether the server is there, once`, async (t) => {
    const {tell} = page(t);
    const {socket, log} = await open(t, {heartbeat: {method: 'ping', interval: 30_000, timeout: 1000}});
    tell(change);
    assert.deepEqual(socket().take().map(({method}) => method), ['ping']);
    await tick(500);
    tell(change);
    assert.deepEqual(socket().take(), []);
    await tick(500);
    assert.equal(log[0].closeCode, 4002);
  });
}
