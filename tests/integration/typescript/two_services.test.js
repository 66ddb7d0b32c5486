// Two services in TypeScript at one broker: which of them gets what.

'use strict';

const assert = require('node:assert/strict');
const {test} = require('node:test');
const {Queue} = require('../../client_stubs/typescript/queue.js');
const {socketbroker} = require('../../client_stubs/typescript/package.js');
const {ask, attach, clientOf, connect, quiet, start} = require('./running.js');

const {Service} = socketbroker;
const options = {timeout: 60000};

// A service that tells its name when asked `who`; a request `hold` is told to
// `held`, and not replied to.
async function serve(t, broker, name, serviceOptions) {
  const held = new Queue();
  const service = new Service(clientOf(t, broker), {logger: quiet, ...serviceOptions});
  // One pattern: with sticky, each has its own service.
  service.on('*', (params, {method, connectionId}) => method === 'who' ? name
    : new Promise(() => held.push(connectionId)));
  await attach(t, service);
  return {held, lose: () => service.drain(0)};
}

function hold(socket, id) {
  socket.send(JSON.stringify({jsonrpc: '2.0', id, method: 'hold'}));
}

test('a request of a service that is lost is done by the other, if it may be', options, async (t) => {
  for (const idempotent of [true, false]) {
    const {broker, client} = await start(t);
    const first = await serve(t, broker, 'first', {idempotent, concurrency: 10});
    const second = await serve(t, broker, 'second', {idempotent, concurrency: 5});
    const socket = await connect(broker, client, {accountId: 'a1'});
    hold(socket, 1);
    const connectionId = await first.held.next();
    await first.lose();
    if (idempotent) {
      assert.equal(await second.held.next(), connectionId);
    } else {
      assert.deepEqual(JSON.parse(await socket.receive()),
        {jsonrpc: '2.0', id: 1, error: {code: -32001, message: 'No reply from the service'}});
    }
    assert.equal((await ask(socket, 'who')).result, 'second');
    assert.equal(second.held.kept.length, 0);
  }
});

test('a connection stays with its service', options, async (t) => {
  const {broker, client} = await start(t);
  const first = await serve(t, broker, 'first', {sticky: 'connection', concurrency: 10});
  const second = await serve(t, broker, 'second', {sticky: 'connection', concurrency: 5});
  const [socket, other] = [await connect(broker, client, {accountId: 'a1'}),
    await connect(broker, client, {accountId: 'a1'})];
  // It stays where it began, though the other soon has more credit left.
  for (let id = 1; id <= 8; id++) hold(socket, id);
  for (let id = 1; id <= 8; id++) await first.held.next();
  hold(other, 1);
  await second.held.next();
  for (let i = 0; i < 3; i++) {
    assert.equal((await ask(socket, 'who')).result, 'first');
    assert.equal((await ask(other, 'who')).result, 'second');
  }
  // Until that is gone.
  await first.lose();
  for (let id = 1; id <= 8; id++) assert.equal(JSON.parse(await socket.receive()).error.code, -32001);
  assert.equal((await ask(socket, 'who')).result, 'second');
});

test('an account stays with its service', options, async (t) => {
  const {broker, client} = await start(t);
  for (const name of ['first', 'second']) await serve(t, broker, name, {sticky: 'account'});
  const names = new Set();
  for (let n = 0; n < 30; n++) {
    const answers = [];
    for (let socket = 0; socket < 2; socket++) {
      answers.push((await ask(await connect(broker, client, {accountId: `a${n}`}), 'who')).result);
    }
    assert.equal(answers[0], answers[1]);
    names.add(answers[0]);
  }
  assert.deepEqual([...names].sort(), ['first', 'second']);
});
