// A Service that is attached to a fake broker.

'use strict';

const {FakeBroker} = require('./fake_broker.js');
const {socketbroker} = require('./package.js');

const {Client, Service} = socketbroker;

// Keeps what a service logs.
class Log {
  constructor() {
    this.lines = [];
  }

  info(message) { this.lines.push(`info ${message}`); }
  warn(message) { this.lines.push(`warn ${message}`); }
  error(message, error) { this.lines.push(`error ${message}: ${error.message}`); }
}

async function start(t, serviceOptions = {}) {
  const broker = await FakeBroker.start(t);
  const client = new Client(broker.address);
  t.after(() => client.close());
  const logger = new Log();
  const service = new Service(client, {logger, ...serviceOptions});
  return {broker, client, logger, service};
}

// Runs the service until the test ends; `ended` is its run.
async function attach(t, broker, service) {
  const ended = service.run();
  ended.catch(() => {});
  t.after(async () => {
    void service.drain(0);
    await ended.catch(() => {});
  });
  return {session: await broker.attached(), ended};
}

const json = (bytes) => JSON.parse(Buffer.from(bytes).toString());

module.exports = {attach, json, start};
