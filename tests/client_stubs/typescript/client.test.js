// The client against a fake broker: what it adds to the generated messages.

'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const {test} = require('node:test');
const {codec, FakeBroker, METHODS, Refusal} = require('./fake_broker.js');
const {grpc, socketbroker} = require('./package.js');

const {BrokerError, Client, duration, Service, tlsFromFiles, v1} = socketbroker;
const {FAILED_PRECONDITION, INVALID_ARGUMENT} = grpc.status;
const STREAMS = ['attach', 'publish', 'requestFiltered', 'watchConnections'];
const options = {timeout: 30000};

async function start(t, clientOptions) {
  const broker = await FakeBroker.start(t);
  const client = new Client(broker.address, clientOptions);
  t.after(() => client.close());
  return {broker, client};
}

// Epochs grow with every look at the broker, as if somebody revoked between.
function growingEpochs(first) {
  let next = BigInt(first);
  return () => ({epoch: next++});
}

const identity = (accountId = 'a1') => ({accountId});

test('has one method for every RPC', options, async (t) => {
  const {broker, client} = await start(t);
  const unary = METHODS.filter((name) => !STREAMS.includes(name));
  assert.ok(unary.length > 20);
  for (const name of unary) {
    assert.deepEqual(await client[name]({}), codec(name, 'Response').fromPartial({}));
  }
  assert.deepEqual(broker.names, unary);
  for (const name of STREAMS) assert.equal(typeof client[name], 'function');
});

test('gives every call the default deadline, or its own', options, async (t) => {
  const {broker, client} = await start(t);
  await client.send({});
  assert.ok(broker.timeRemaining > 5000 && broker.timeRemaining < 15000, `${broker.timeRemaining}`);
  await client.send({}, {deadline: 3600e3});
  assert.ok(broker.timeRemaining > 3000e3, `${broker.timeRemaining}`);
  // The client of the socket has its time, and the call some more.
  await client.requestConnection({timeout: duration(60e3)});
  assert.ok(broker.timeRemaining > 61e3 && broker.timeRemaining < 70e3, `${broker.timeRemaining}`);
});

test('ends a call that takes too long', options, async (t) => {
  const {broker, client} = await start(t, {deadline: 50});
  broker.on('send', () => new Promise(() => {}));
  await assert.rejects(client.send({}), {name: 'BrokerError', code: grpc.status.DEADLINE_EXCEEDED});
});

test('ends a call whose signal is aborted', options, async (t) => {
  const {broker, client} = await start(t);
  const controller = new AbortController();
  broker.on('send', () => {
    controller.abort();
    return new Promise(() => {});
  });
  await assert.rejects(client.send({}, {signal: controller.signal}), {code: grpc.status.CANCELLED});
  await assert.rejects(client.send({}, {signal: controller.signal}), {code: grpc.status.CANCELLED});
  assert.equal(broker.of('send').length, 1);
});

test('sends the API key and metadata with every call', options, async (t) => {
  const {broker, client} = await start(t, {apiKey: 'k2', metadata: () => [['x-more', '1']]});
  await client.getBrokerInfo();
  assert.deepEqual([broker.metadata.authorization, broker.metadata['x-more']], ['Bearer k2', '1']);
  broker.metadata = {};
  for await (const response of client.publish([])) assert.fail(response);
  assert.equal(broker.metadata.authorization, 'Bearer k2');
});

test('an API key that cannot be sent is refused, and not shown', options, () => {
  for (const apiKey of ['canary\n', 'canar\u00fd']) {
    assert.throws(() => new Client('127.0.0.1:1', {apiKey}), (error) => {
      assert.match(error.message, /^apiKey has a character that is not printable ASCII/);
      assert.doesNotMatch(error.stack, /canar[y\u00fd]/);
      return true;
    });
  }
});

test('calls of a client that is closed fail', options, async (t) => {
  const {client} = await start(t);
  client.close();
  const closed = {name: 'BrokerError', code: grpc.status.CANCELLED};
  await assert.rejects(client.send({}), closed);
  assert.throws(() => client.watchConnections(), closed);
  await assert.rejects(new Service(client).on('m', () => 1).run(), closed);
});

test('takes long answers', options, async (t) => {
  const {broker, client} = await start(t);
  const connection = {identity: {labels: {k: 'v'.repeat(10_000)}}};
  broker.on('listConnections', {connections: Array(1000).fill(connection)});
  assert.equal((await client.listConnections({pageSize: 1000})).connections.length, 1000);
});

test('tlsFromFiles wants certificates', () => {
  assert.throws(() => tlsFromFiles({ca: __filename}), /ca: no certificate/);
});

test('tlsFromFiles wants both halves', () => {
  assert.throws(() => tlsFromFiles({certificate: 'cert.pem'}), /together/);
  assert.throws(() => tlsFromFiles({ca: path.join(__dirname, 'none.pem')}), {code: 'ENOENT'});
});

test('waits for a connection until the deadline', options, async (t) => {
  const waiting = new Client('unix:/nonexistent/broker.sock');
  t.after(() => waiting.close());
  await assert.rejects(waiting.send({}, {deadline: 50}), {code: grpc.status.DEADLINE_EXCEEDED});
  const hasty = new Client('unix:/nonexistent/broker.sock', {waitForReady: false});
  t.after(() => hasty.close());
  await assert.rejects(hasty.send({}), {code: grpc.status.UNAVAILABLE});
});

test('remembers the epoch of the newest answer', options, async (t) => {
  const {broker, client} = await start(t);
  assert.equal(client.newestEpoch, 0n);
  for (const [epoch, newest] of [[20n, 20n], [30n, 30n], [25n, 25n], [0n, 25n]]) {
    broker.on('closeSocketsForToken', {epoch});
    await client.closeSocketsForToken({});
    assert.equal(client.newestEpoch, newest);
  }
});

test('takes the epoch before it verifies', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('getBrokerInfo', growingEpochs(5));
  broker.on('createTicket', {ticket: 'secret'});
  const verify = async () => {
    assert.deepEqual(broker.names, ['getBrokerInfo']);
    // Somebody revokes and this client hears of it: too late to count.
    await client.getBrokerInfo();
    return identity();
  };
  const {ticket} = await client.createTicketVerified({namespace: 'n', verifiedAtEpoch: 99n}, verify);
  assert.equal(ticket, 'secret');
  assert.deepEqual(broker.of('createTicket'),
    [v1.CreateTicketRequest.fromPartial({namespace: 'n', verifiedAtEpoch: 5n, identity: identity()})]);
  assert.equal(client.newestEpoch, 6n);
});

test('uses the epoch it knows', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('getBrokerInfo', growingEpochs(5));
  for (let i = 0; i < 2; i++) await client.createTicketVerified({}, identity);
  assert.deepEqual(broker.names, ['getBrokerInfo', 'createTicket', 'createTicket']);
});

for (const reason of ['CREDENTIAL_REVOKED', 'EPOCH_TOO_OLD']) {
  test(`verifies again and retries once on ${reason}`, options, async (t) => {
    const {broker, client} = await start(t);
    broker.on('getBrokerInfo', growingEpochs(5));
    broker.on('addConnection', [new Refusal(FAILED_PRECONDITION, 'no', reason), {connection: {version: 1n}}]);
    const accounts = ['a1', 'a2'];
    const {connection} = await client.addConnectionVerified({connectionId: 'c'}, () => identity(accounts.shift()));
    assert.equal(connection.version, 1n);
    assert.deepEqual(
      broker.of('addConnection').map((r) => [r.connectionId, r.verifiedAtEpoch, r.identity.accountId]),
      [['c', 5n, 'a1'], ['c', 6n, 'a2']]);
  });
}

test('takes the lower epoch of another broker', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('getBrokerInfo', growingEpochs(90));
  await client.getBrokerInfo({});
  broker.on('getBrokerInfo', growingEpochs(5));
  broker.on('addConnection', [new Refusal(INVALID_ARGUMENT, 'no', 'EPOCH_AHEAD'), {connection: {version: 1n}}]);
  await client.addConnectionVerified({connectionId: 'c'}, identity);
  assert.deepEqual(broker.of('addConnection').map((r) => r.verifiedAtEpoch), [90n, 5n]);
  assert.equal(client.newestEpoch, 5n);
});

test('gives up when revoked twice', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('getBrokerInfo', growingEpochs(5));
  broker.on('createTicket', () => new Refusal(FAILED_PRECONDITION, 'no', 'CREDENTIAL_REVOKED'));
  await assert.rejects(client.createTicketVerified({}, identity), {reason: 'CREDENTIAL_REVOKED'});
  assert.deepEqual(broker.of('createTicket').map((r) => r.verifiedAtEpoch), [5n, 6n]);
});

test('does not retry other refusals', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('createTicket', new Refusal(INVALID_ARGUMENT, 'no', 'OTHER'));
  await assert.rejects(client.createTicketVerified({}, identity), {code: INVALID_ARGUMENT});
  assert.equal(broker.of('createTicket').length, 1);
});

test('binds nothing that does not verify', options, async (t) => {
  const {broker, client} = await start(t);
  for (const answer of [undefined, null, true, {}]) {
    await assert.rejects(client.createTicketVerified({}, () => answer), TypeError);
  }
  await assert.rejects(client.createTicketVerified({}, () => { throw new Error('unknown'); }), /unknown/);
  assert.equal(broker.of('createTicket').length, 0);

  broker.on('createTicket', new Refusal(FAILED_PRECONDITION, 'no', 'CREDENTIAL_REVOKED'));
  const looks = [identity()];
  await assert.rejects(client.createTicketVerified({}, () => looks.shift()), TypeError);
  assert.equal(broker.of('createTicket').length, 1);
});

test('errors tell reason, metadata and violations', options, async (t) => {
  const {broker, client} = await start(t);
  const violation = {field: 'identity.account_id', description: 'is empty; 1 to 256 bytes are allowed'};
  broker.on('createTicket', new Refusal(INVALID_ARGUMENT, 'wrong', 'R', {violations: [violation]}));
  await assert.rejects(client.createTicket({}), (error) => {
    assert.ok(error instanceof BrokerError && error instanceof Error);
    assert.deepEqual([error.code, error.details, error.reason], [INVALID_ARGUMENT, 'wrong', 'R']);
    assert.deepEqual(error.metadata, {limit: '7'});
    assert.deepEqual(error.violations, [violation]);
    assert.equal(error.message, 'INVALID_ARGUMENT: wrong (R)');
    return true;
  });
});

test('errors leave out what is not the broker\'s, or not readable', options, async (t) => {
  const {broker, client} = await start(t);
  for (const more of [{domain: 'elsewhere'}, {bytes: Buffer.from([0x1a, 0xff])}]) {
    broker.on('send', new Refusal(grpc.status.INTERNAL, 'm', 'R', more));
    await assert.rejects(client.send({}), {code: grpc.status.INTERNAL, details: 'm', reason: '', metadata: {}});
  }
});

test('keeps 64-bit numbers exact', options, async (t) => {
  const {broker, client} = await start(t);
  const epoch = 2n ** 64n - 1n;
  assert.notEqual(BigInt(Number(epoch)), epoch);
  broker.on('getBrokerInfo', {epoch});
  assert.equal((await client.getBrokerInfo()).epoch, epoch);
  assert.equal(client.newestEpoch, epoch);
  await client.createTicketVerified({}, identity);
  assert.equal(broker.of('createTicket')[0].verifiedAtEpoch, epoch);
  await assert.rejects(client.createTicket({verifiedAtEpoch: epoch + 1n}), /too large/);
});

test('keeps dates, durations, bytes, enums and any JSON value', options, async (t) => {
  const {broker, client} = await start(t);
  const expiresAt = new Date('2030-01-02T03:04:05.678Z');
  await client.addConnection({identity: {accountId: 'a', labels: {k: 'v'}, groups: ['g'], expiresAt}});
  const {identity: sent} = broker.of('addConnection')[0];
  assert.deepEqual([sent.expiresAt, sent.labels, sent.groups, sent.tokenHash],
    [expiresAt, {k: 'v'}, ['g'], undefined]);

  await client.createTicket({ttl: duration(1500.25)});
  assert.deepEqual(broker.of('createTicket')[0].ttl, {seconds: 1n, nanos: 500250000});
  assert.throws(() => duration(NaN), RangeError);

  const paramsStruct = {a: [1, 'x', null, true], b: {c: 1.5}};
  await client.send({message: {notification: {method: 'm', paramsStruct}}});
  await client.send({message: {binary: Uint8Array.of(0, 255)}});
  const [first, second] = broker.of('send');
  assert.deepEqual(first.message.notification.paramsStruct, paramsStruct);
  assert.deepEqual([...second.message.binary], [0, 255]);

  broker.on('sendToConnection', {outcome: v1.SendOutcome.DROPPED_SLOW});
  assert.equal((await client.sendToConnection({})).outcome, 'SEND_OUTCOME_DROPPED_SLOW');
  broker.on('requestConnection', {reply: {result: [1, {a: null}]}});
  assert.deepEqual((await client.requestConnection({})).reply.result, [1, {a: null}]);
});
