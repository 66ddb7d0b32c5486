// The TypeScript client and the real broker.

'use strict';

const assert = require('node:assert/strict');
const {execFileSync} = require('node:child_process');
const {createHash} = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const {test} = require('node:test');
const {grpc, socketbroker} = require('../../client_stubs/typescript/package.js');
const {clientOf, connect, onlyConnection, start} = require('./running.js');

const {duration, fromPublishError, tlsFromFiles} = socketbroker;
const options = {timeout: 60000};

test('ticket, send, broadcast, revoke', options, async (t) => {
  const {broker, client} = await start(t);
  const socket = await connect(broker, client, {accountId: 'a1', tokenHash: 's1', groups: ['beta']});
  assert.deepEqual(await client.countConnections(), {count: 1n});

  const paramsJson = Buffer.from('{"b":1.0, "a":"é"}');
  const sent = await client.sendToAccount({accountId: 'a1', message: {notification: {method: 'hi', paramsJson}}});
  assert.deepEqual([sent.matched, sent.queued, sent.droppedSlow], [1n, 1n, 0n]);
  assert.equal(await socket.receive(), '{"jsonrpc":"2.0","method":"hi","params":{"b":1.0, "a":"é"}}');
  const message = {notification: {method: 'news', paramsStruct: {n: 1}}};
  assert.equal((await client.broadcastFiltered({filter: 'groups:"beta"', message})).queued, 1n);
  assert.deepEqual(JSON.parse(await socket.receive()).params, {n: 1});

  const before = client.newestEpoch;
  const closed = await client.closeSocketsForSession({tokenHash: 's1'});
  assert.equal(closed.closed, 1n);
  assert.ok(closed.epoch > before);
  assert.equal(client.newestEpoch, closed.epoch);
  assert.deepEqual(await socket.closed, {code: 4001, reason: 'Session revoked'});
});

test('a revocation between look-up and binding is found, and the look-up repeated', options, async (t) => {
  const {client} = await start(t);
  let looks = 0;
  const verify = async () => {
    looks += 1;
    // Somebody revokes meanwhile.
    if (looks === 1) await client.closeSocketsForAccount({accountId: 'a1'});
    return {accountId: 'a1'};
  };
  const {ticket} = await client.createTicketVerified({ttl: duration(5000)}, verify);
  assert.equal(looks, 2);
  assert.equal(ticket.length, 43);
});

test('pending, bound, updated', options, async (t) => {
  const {broker, client} = await start(t);
  await broker.connect();
  const {connectionId, state} = await onlyConnection(client);
  assert.equal(state, 'CONNECTION_STATE_PENDING');
  const expiresAt = new Date(Date.now() + 3600e3);
  const identity = {accountId: 'a1', apiTokenId: 't1', labels: {region: 'eu'}, expiresAt};
  const bound = await client.addConnectionVerified({connectionId}, () => identity);
  assert.deepEqual(bound.connection.identity.expiresAt, expiresAt);
  await assert.rejects(client.addConnection({connectionId, identity: {accountId: 'a2'}}),
    {code: grpc.status.FAILED_PRECONDITION, reason: 'ALREADY_BOUND'});
  const {connection} = await client.updateConnection(
    {connectionId, identity: {groups: ['g']}, updateMask: ['groups'], expectedVersion: bound.connection.version});
  assert.equal(connection.version, bound.connection.version + 1n);
  assert.deepEqual([connection.identity.groups, connection.identity.labels], [['g'], {region: 'eu'}]);
});

test('errors name the field', options, async (t) => {
  const {client} = await start(t);
  await assert.rejects(client.closeSocketsForSession({tokenHash: ''}), (error) => {
    assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
    assert.deepEqual(error.violations.map(({field}) => field), ['token_hash']);
    return true;
  });
});

test('publish', options, async (t) => {
  const {broker, client} = await start(t);
  const socket = await connect(broker, client, {accountId: 'a1'});
  const count = 500;
  async function* requests() {
    for (let n = 0; n < count; n++) {
      yield {items: [{send: {message: {notification: {method: 'm', paramsStruct: {n}}}}}]};
    }
    yield {items: [
      {sendToConnection: {connectionId: 'none', message: {text: '{}'}}}, {closeSocketsForAccount: {accountId: 'a2'}},
    ]};
  }
  const results = [];
  for await (const response of client.publish(requests())) results.push(...response.results);
  assert.equal(results.length, count + 2);
  assert.ok(results.slice(0, count).every(({send}) => send.queued === 1n));
  assert.equal(fromPublishError(results[count].error).code, grpc.status.INVALID_ARGUMENT);
  assert.equal(results[count + 1].closeSocketsForAccount.closed, 0n);
  for (let n = 0; n < count; n++) assert.equal(JSON.parse(await socket.receive()).params.n, n);
});

test('watch', options, async (t) => {
  const {broker, client} = await start(t);
  const watch = client.watchConnections();
  assert.ok((await watch.next()).value.snapshotEnd);
  const socket = await connect(broker, client, {accountId: 'a1'});
  assert.equal((await watch.next()).value.added.identity.accountId, 'a1');
  socket.close(4000, 'bye');
  for await (const {removed} of watch) {
    if (!removed) continue;
    assert.deepEqual([removed.closeCode, removed.reason], [4000, 'REASON_CLOSED']);
    break;
  }
});

test('an API key', options, async (t) => {
  const key = 'sbk_the-key-of-billing-canary';
  const keyHash = createHash('sha256').update(key).digest('hex');
  const {broker, client} = await start(t, {
    apiKey: key, config: {control: {callers: [{name: 'billing', key_hash: keyHash, roles: ['READ']}]}},
  });
  assert.deepEqual(await client.countConnections(), {count: 0n});
  await assert.rejects(client.send({message: {text: '{"jsonrpc":"2.0","method":"m"}'}}),
    {code: grpc.status.PERMISSION_DENIED, reason: 'ROLE_MISSING'});
  await assert.rejects(clientOf(t, broker).countConnections(), {code: grpc.status.UNAUTHENTICATED});
});

test('TLS and client certificates', options, async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'certificates-'));
  t.after(() => fs.rmSync(folder, {recursive: true}));
  const [server, caller] = ['localhost', 'billing'].map((name) => makeCertificate(folder, name));
  const tls = {
    certificate_file: server.certificate, private_key_file: server.privateKey, client_ca_file: caller.certificate,
  };
  const {broker, client} = await start(t, {
    config: {control: {tls}}, credentials: tlsFromFiles({ca: server.certificate, ...caller}),
  });
  assert.ok((await client.getBrokerInfo()).ready);
  for (const files of [undefined, {ca: server.certificate}, {ca: caller.certificate, ...caller}]) {
    const credentials = files && tlsFromFiles(files);
    await assert.rejects(clientOf(t, broker, {credentials, waitForReady: false}).getBrokerInfo(),
      {code: grpc.status.UNAVAILABLE});
  }
});

test('asks a client, and many', options, async (t) => {
  const {broker, client} = await start(t);
  const sockets = [];
  for (const accountId of ['a1', 'a2']) sockets.push(await connect(broker, client, {accountId}));
  const {connections} = await client.listConnections({filter: 'account_id = "a1"'});
  const [{connectionId}] = connections;

  const asking = client.requestConnection({connectionId, method: 'add', paramsStruct: {a: 1}, timeout: duration(10e3)});
  const request = JSON.parse(await sockets[0].receive());
  assert.deepEqual([request.method, request.params], ['add', {a: 1}]);
  sockets[0].send(JSON.stringify({jsonrpc: '2.0', id: request.id, result: {sum: null}}));
  assert.deepEqual((await asking).reply.result, {sum: null});

  const replies = client.requestFiltered({matchAll: true, method: 'who', timeout: duration(10e3), wantJson: true});
  for (const socket of sockets) {
    const {id} = JSON.parse(await socket.receive());
    socket.send(JSON.stringify(socket === sockets[0] ? {jsonrpc: '2.0', id, result: 7}
      : {jsonrpc: '2.0', id, error: {code: 1, message: 'no'}}));
  }
  const outcomes = {};
  for await (const {connectionId: id, reply} of replies) outcomes[id === connectionId ? 'a1' : 'a2'] = reply;
  assert.equal(Buffer.from(outcomes.a1.resultJson).toString(), '7');
  assert.equal(JSON.parse(outcomes.a2.errorJson).code, 1);

  await assert.rejects(client.requestConnection({connectionId, method: 'late', timeout: duration(50)}),
    {code: grpc.status.DEADLINE_EXCEEDED});
});

function makeCertificate(folder, name) {
  const [certificate, privateKey] = ['pem', 'key'].map((suffix) => path.join(folder, `${name}.${suffix}`));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
    '-days', '1', '-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name},IP:127.0.0.1`, '-keyout', privateKey,
    '-out', certificate], {stdio: 'ignore'});
  return {certificate, privateKey};
}
