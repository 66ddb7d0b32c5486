// The broker with clients of Node.js: ws and @grpc/grpc-js.

'use strict';

const assert = require('node:assert/strict');
const {test} = require('node:test');
const {Broker, grpc} = require('./broker.js');

const options = {timeout: 60000};
const revoked = {code: 4001, reason: 'Session revoked'};
const note = (method, fields = {}) => ({notification: {method, ...fields}});

test('ticket, send, broadcast, revoke', options, async (t) => {
  const broker = await Broker.start(t);
  const {client} = broker;
  const ticket = await broker.ticket({account_id: 'a1', token_hash: 's1', groups: ['beta']});
  const socket = await broker.connect(ticket);
  const other = await broker.connect(await broker.ticket({account_id: 'a2'}));
  assert.equal(socket.protocol, 'socketbroker.v1');
  assert.deepEqual(await client.CountConnections(), {count: 2});

  const sent = await client.SendToAccount(
    {account_id: 'a1', message: note('hi', {params_json: Buffer.from('{"b":1.0, "a":"é"}')})});
  assert.deepEqual([sent.matched, sent.queued, sent.dropped_slow], [1, 1, 0]);
  assert.equal(await socket.receive(), '{"jsonrpc":"2.0","method":"hi","params":{"b":1.0, "a":"é"}}');

  const text = '{"jsonrpc":"2.0", "method":"odd  spacing"}';
  assert.equal((await client.BroadcastFiltered({filter: 'groups:"beta"', message: {text}})).queued, 1);
  assert.equal(await socket.receive(), text);
  assert.equal((await client.Send({message: {text}})).queued, 2);
  assert.deepEqual(await Promise.all([socket.receive(), other.receive()]), [text, text]);

  assert.equal((await client.CloseSocketsForSession({token_hash: 's1'})).closed, 1);
  assert.equal((await client.CloseSocketsForSession({token_hash: 's1'})).closed, 0);
  assert.deepEqual(await socket.closed, revoked);
  await assert.rejects(broker.connect(ticket), {status: 401});
  assert.deepEqual(await client.CountConnections(), {count: 1});
});

test('pending, bound, held, admitted', options, async (t) => {
  const broker = await Broker.start(t);
  const {client} = broker;
  const socket = await broker.connect();
  const {connections: [{connection_id, state}]} = await client.ListConnections();
  assert.equal(state, 'CONNECTION_STATE_PENDING');
  socket.send('{"jsonrpc":"2.0","id":"early","method":"work"}');

  const identity = {account_id: 'a1', api_token_id: 't1'};
  await client.AddConnection({connection_id, identity, hold: true});
  assert.deepEqual(await client.CountConnections(), {count: 0});
  const admitted = await client.AdmitConnection({connection_id});
  assert.equal(admitted.connection.state, 'CONNECTION_STATE_ADMITTED');
  const answer = JSON.parse(await socket.receive());
  assert.deepEqual([answer.id, answer.error.code], ['early', -32601]);

  await assert.rejects(client.AddConnection({connection_id, identity: {account_id: 'a2'}}),
    {code: grpc.status.FAILED_PRECONDITION});
  assert.equal((await client.CloseSocketsForToken({api_token_id: 't1'})).closed, 1);
  assert.deepEqual(await socket.closed, revoked);
});

test('watch', options, async (t) => {
  const broker = await Broker.start(t);
  const watch = broker.client.WatchConnections();
  const events = watch[Symbol.asyncIterator]();
  assert.equal((await events.next()).value.event, 'snapshot_end');
  const socket = await broker.connect(await broker.ticket({account_id: 'a1'}));
  const added = (await events.next()).value;
  assert.equal(added.event, 'added');
  assert.equal(added.added.identity.account_id, 'a1');
  assert.ok(added.resume_token);
  socket.close(4000, 'bye');
  let removed;
  while (!removed) removed = (await events.next()).value.removed;
  assert.deepEqual([removed.close_code, removed.reason], [4000, 'REASON_CLOSED']);
  watch.on('error', () => {});
  watch.cancel();
});

test('refusals', options, async (t) => {
  const broker = await Broker.start(t);
  const ticket = await broker.ticket({account_id: 'a1'});
  await assert.rejects(broker.connect('A'.repeat(43)), {status: 401});
  await assert.rejects(broker.connect(ticket, {origin: 'https://evil.example'}), {status: 403});
  await assert.rejects(broker.client.CloseSocketsForSession({token_hash: ''}), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.match(error.details, /token_hash/);
    assert.equal(error.metadata.get('grpc-status-details-bin').length, 1);
    return true;
  });
});

test('a compressed connection is not agreed to, and large messages arrive', options, async (t) => {
  const broker = await Broker.start(t);
  const socket = await broker.connect(await broker.ticket({account_id: 'a1'}), {perMessageDeflate: true});
  assert.equal(socket.extensions, '');
  const text = JSON.stringify({jsonrpc: '2.0', method: 'big', params: ['x'.repeat(1000000)]});
  await broker.client.Send({message: {text}});
  assert.equal(await socket.receive(), text);
});
