// A broker of its own for each test, with a gRPC client made from the protos.

'use strict';

const {spawn} = require('node:child_process');
const {once} = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const WebSocket = require('ws');

const BINARY = process.env.BROKER_BINARY || 'build/release/bin/socket-broker';
const PROTOS = path.join(__dirname, '..', '..', '..', 'protos');

const definition = protoLoader.loadSync('socketbroker/v1/socket_broker.proto', {
  includeDirs: [PROTOS], keepCase: true, longs: Number, enums: String, oneofs: true, defaults: true,
});
const {SocketBroker} = grpc.loadPackageDefinition(definition).socketbroker.v1;

// A client whose methods return promises, and streams as they are.
function makeClient(address) {
  const client = new SocketBroker(address, grpc.credentials.createInsecure());
  const result = {close: () => client.close()};
  for (const {path: method, responseStream} of Object.values(SocketBroker.service)) {
    const name = method.split('/').pop();
    result[name] = responseStream
      ? (request) => client[name](request || {})
      : (request) => new Promise((resolve, reject) => {
        const deadline = Date.now() + 15000;
        client[name](request || {}, {deadline}, (error, response) => error ? reject(error) : resolve(response));
      });
  }
  return result;
}

class Broker {
  // Starts a broker that ends with the test `t` or by `stop`, and must end well.
  // `config` is what its configuration file says.
  static async start(t, {config} = {}) {
    const arguments_ = ['--websocket-port', '0', '--control-port', '0', '--admin-port', '0'];
    if (config) {
      const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'broker-'));
      t.after(() => fs.rmSync(folder, {recursive: true}));
      const file = path.join(folder, 'broker.yaml');
      fs.writeFileSync(file, JSON.stringify(config)); // JSON is YAML.
      arguments_.push('--config', file);
    }
    const process_ = spawn(BINARY, arguments_, {stdio: ['ignore', 'ignore', 'pipe']});
    const exited = once(process_, 'exit');
    const broker = new Broker();
    broker.stop = async () => {
      for (const socket of broker.sockets) socket.terminate();
      process_.kill('SIGTERM');
      const timer = setTimeout(() => process_.kill('SIGKILL'), 15000);
      const [code] = await exited;
      clearTimeout(timer);
      if (code !== 0) throw new Error(`exit code ${code}`);
    };
    t.after(() => {
      if (broker.client) broker.client.close();
      return broker.stop();
    });
    const started = await new Promise((resolve, reject) => {
      readline.createInterface({input: process_.stderr}).on('line', (line) => {
        try {
          const entry = JSON.parse(line);
          if (entry.event === 'started') resolve(entry);
        } catch {
          // Not one of its lines.
        }
      });
      exited.then(([code]) => reject(new Error(`the broker ended with ${code}`)), reject);
    });
    broker.websocket = started.websocket_address;
    broker.control = started.control_address;
    broker.client = makeClient(broker.control);
    return broker;
  }

  constructor() {
    this.sockets = [];
  }

  async ticket(identity) {
    const {epoch} = await this.client.GetBrokerInfo();
    return (await this.client.CreateTicket({identity, verified_at_epoch: epoch})).ticket;
  }

  // A socket that keeps its messages for `receive`.
  connect(ticket, {path = '/ws', ...options} = {}) {
    const protocols = ticket ? ['socketbroker.v1', `ticket.${ticket}`] : [];
    const socket = new WebSocket(`ws://${this.websocket}${path}`, protocols, options);
    this.sockets.push(socket);
    socket.received = [];
    socket.waiting = [];
    socket.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({code, reason: reason.toString()}));
    });
    socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      const waiter = socket.waiting.shift();
      if (waiter) waiter(message);
      else socket.received.push(message);
    });
    socket.receive = () => socket.received.length > 0
      ? Promise.resolve(socket.received.shift())
      : new Promise((resolve) => socket.waiting.push(resolve));
    return new Promise((resolve, reject) => {
      socket.on('open', () => resolve(socket));
      socket.on('unexpected-response', (request, response) => {
        response.resume();
        request.destroy();
        reject(Object.assign(new Error(`HTTP ${response.statusCode}`), {status: response.statusCode}));
      });
      socket.on('error', reject);
    });
  }
}

module.exports = {Broker, grpc};
