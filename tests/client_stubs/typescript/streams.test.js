// The client's streams against a fake broker.

'use strict';

const assert = require('node:assert/strict');
const {test} = require('node:test');
const {FakeBroker, Refusal} = require('./fake_broker.js');
const {grpc, socketbroker} = require('./package.js');

const {Client, fromPublishError} = socketbroker;
const {ABORTED, INVALID_ARGUMENT, NOT_FOUND} = grpc.status;
const options = {timeout: 30000};

async function start(t) {
  const broker = await FakeBroker.start(t);
  const client = new Client(broker.address);
  t.after(() => client.close());
  return {broker, client};
}

async function all(responses) {
  const result = [];
  for await (const response of responses) result.push(response);
  return result;
}

const removal = (...ids) => ({items: ids.map((connectionId) => ({removeConnection: {connectionId}}))});
const refuseAll = ({items}) => ({
  results: items.map(({removeConnection: {connectionId}}) => ({
    error: new Refusal(NOT_FOUND, 'gone', `GONE ${connectionId}`).status,
  })),
});

test('watch reads in order and tells why it ended', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('watchConnections',
    [{added: {connectionId: 'c1'}}, {snapshotEnd: {}}, new Refusal(ABORTED, 'slow', 'WATCH_TOO_SLOW')]);
  const watch = client.watchConnections();
  assert.equal((await watch.next()).value.added.connectionId, 'c1');
  assert.ok((await watch.next()).value.snapshotEnd);
  await assert.rejects(watch.next(), {code: ABORTED, reason: 'WATCH_TOO_SLOW'});
  assert.ok((await watch.next()).done);
});

test('an error that comes before anybody iterates is told', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('watchConnections', [new Refusal(INVALID_ARGUMENT, 'no', 'FILTER')]);
  const watch = client.watchConnections();
  await new Promise((resolve) => watch.call.on('status', resolve));
  await assert.rejects(watch.next(), {reason: 'FILTER'});
});

test('a stream ends silently when it is cancelled', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('watchConnections', [{snapshotEnd: {}}]);
  const watch = client.watchConnections();
  await watch.next();
  setImmediate(() => watch.cancel());
  assert.deepEqual(await all(watch), []);
});

test('leaving a loop ends the stream', options, async (t) => {
  const {broker, client} = await start(t);
  const left = new Promise((resolve) => { broker.left = resolve; });
  broker.on('watchConnections', [{snapshotEnd: {}}, {snapshotEnd: {}}]);
  for await (const response of client.watchConnections()) {
    assert.ok(response.snapshotEnd);
    break;
  }
  await left;
});

test('a signal, and a deadline, end a stream with an error', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('watchConnections', [{snapshotEnd: {}}]);
  const controller = new AbortController();
  const watch = client.watchConnections({}, {signal: controller.signal});
  await watch.next();
  controller.abort();
  await assert.rejects(watch.next(), {code: grpc.status.CANCELLED});
  await assert.rejects(all(client.watchConnections({}, {deadline: 50})), {code: grpc.status.DEADLINE_EXCEEDED});
});

test('requestFiltered yields what comes of each', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('requestFiltered', [
    {connectionId: 'c1', reply: {result: 1}}, {connectionId: 'c2', failure: 'FAILURE_GONE'},
    new Refusal(grpc.status.CANCELLED, 'enough')]);
  const replies = client.requestFiltered({matchAll: true, method: 'm'});
  assert.deepEqual((await replies.next()).value.reply.result, 1);
  assert.deepEqual((await replies.next()).value.failure, 'FAILURE_GONE');
  await assert.rejects(replies.next());
  assert.equal(broker.of('requestFiltered')[0].matchAll, true);
});

test('publish answers in order', options, async (t) => {
  const {broker, client} = await start(t);
  broker.on('publish', refuseAll);
  const responses = await all(client.publish([removal('1', '2'), removal('3')]));
  const errors = responses.flatMap(({results}) => results.map(({error}) => fromPublishError(error)));
  assert.deepEqual(errors.map(({code, reason}) => [code, reason]),
    [[NOT_FOUND, 'GONE 1'], [NOT_FOUND, 'GONE 2'], [NOT_FOUND, 'GONE 3']]);
});

test('publish takes requests as fast as the broker does them', options, async (t) => {
  const {broker, client} = await start(t);
  const count = 400;
  let [taken, done, mostAhead] = [0, 0, 0];
  broker.on('publish', (request) => {
    done += 1;
    mostAhead = Math.max(mostAhead, taken - done);
    return refuseAll(request);
  });
  function* requests() {
    for (; taken < count; taken++) yield removal('x'.repeat(10_000));
  }
  assert.equal((await all(client.publish(requests()))).length, count);
  assert.ok(mostAhead < count / 2, `${mostAhead} ahead`);
});

test('publish tells why it ended, and takes no more then', options, async (t) => {
  const {broker, client} = await start(t);
  let first = true;
  broker.on('publish', () => {
    if (!first) throw new Refusal(INVALID_ARGUMENT, 'no', 'END');
    first = false;
    return {};
  });
  let finished;
  const released = new Promise((resolve) => { finished = resolve; });
  function* forever() {
    try {
      for (;;) yield removal('1');
    } finally {
      finished();
    }
  }
  const responses = client.publish(forever());
  await responses.next();
  await assert.rejects(all(responses), {reason: 'END'});
  await released;
});

test('publish lets go of a source that has nothing to say', options, async (t) => {
  const {client} = await start(t);
  const left = new Promise((resolve) => {
    const source = {
      [Symbol.asyncIterator]: () => source,
      next: () => new Promise(() => {}),
      return: async () => { resolve(); throw new Error('nobody is told of this'); },
    };
    client.publish(source).cancel();
  });
  await left;
});

test('publish ends with the error of its source', options, async (t) => {
  const {client} = await start(t);
  async function* failing() {
    yield removal('1');
    throw new Error('the source is dry');
  }
  await assert.rejects(all(client.publish(failing())), /the source is dry/);
});

test('attach says and hears', options, async (t) => {
  const {broker, client} = await start(t);
  const stream = client.attach({handshakes: true});
  const session = await broker.attached();
  assert.ok(session.start.handshakes);
  assert.equal((await stream.next()).value.started.epoch, 7n);
  await stream.credit({handshakes: 2, events: 3, messages: 4});
  assert.deepEqual(await session.next('credit'), {handshakes: 2, events: 3, messages: 4});
  const id = 2n ** 63n + 1n;
  stream.refuse(id, 'no');
  assert.deepEqual(await session.next('refuseHandshake'), {offerId: id, reason: 'no'});
  stream.send({connectionId: 'c1', message: {text: 't'}});
  stream.reply({messageId: id, resultJson: Buffer.from('1')});
  stream.drain();
  assert.equal((await session.next('send')).message.text, 't');
  assert.equal((await session.next('reply')).messageId, id);
  assert.ok(await session.next('drain'));
  session.end(new Refusal(ABORTED, 'too slow', 'EVENTS_LOST'));
  await assert.rejects(stream.next(), {reason: 'EVENTS_LOST'});
  // It goes nowhere, and harms nobody.
  await stream.credit({events: 1});
});

test('attach ends when it is cancelled', options, async (t) => {
  const {broker, client} = await start(t);
  const stream = client.attach({});
  const session = await broker.attached();
  await stream.next();
  stream.cancel();
  assert.deepEqual(await all(stream), []);
  await session.left;
});
