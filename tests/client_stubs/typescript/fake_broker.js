// FakeBroker: a SocketBroker on a port of its own.
//
// It keeps every request and answers as the test says; an RPC without an answer is
// OK and empty. An attached service is a Session, which the test plays by hand.

'use strict';

const {grpc, internal, socketbroker} = require('./package.js');
const {Queue} = require('./queue.js');

const {v1} = socketbroker;
const {BadRequest, ErrorInfo} = internal('generated/google/rpc/error_details.js');
const {Status} = internal('generated/google/rpc/status.js');
const METHODS = Object.keys(v1.SocketBrokerService);

function pack(name, codec, message) {
  return {typeUrl: `type.googleapis.com/google.rpc.${name}`, value: codec.encode(codec.fromPartial(message)).finish()};
}

// What an answer is, or throws, to refuse: becomes a status with google.rpc details.
class Refusal extends Error {
  constructor(code, message, reason = '', {violations = [], domain = 'socketbroker', bytes} = {}) {
    super(message);
    const details = [];
    if (violations.length > 0) details.push(pack('BadRequest', BadRequest, {fieldViolations: violations}));
    if (reason) details.push(pack('ErrorInfo', ErrorInfo, {reason, domain, metadata: {limit: '7'}}));
    this.status = {code, message, details};
    const metadata = new grpc.Metadata();
    metadata.set('grpc-status-details-bin', bytes || Buffer.from(Status.encode(this.status).finish()));
    this.error = {code, details: message, metadata};
  }
}

// The broker's side of an Attach stream.
class Session {
  constructor(call) {
    this.call = call;
    this.said = new Queue();
    // Resolves when the client has left.
    this.left = new Promise((resolve) => call.once('cancelled', resolve));
    call.on('data', (request) => this.said.push(request));
    call.on('error', () => {});
  }

  // The next thing that the service says, credit left out; of this kind.
  async next(kind) {
    for (;;) {
      const said = await this.said.next();
      if (said.credit && kind !== 'credit') continue;
      if (said[kind] === undefined) throw new Error(`${kind} was expected, not ${JSON.stringify(said, plain)}`);
      return said[kind];
    }
  }

  tell(response) {
    this.call.write(v1.AttachResponse.fromPartial(response));
  }

  // A client's JSON-RPC request or notification.
  ask(messageId, method, params, {notification = false, ...fields} = {}) {
    const paramsJson = params === undefined ? undefined : Buffer.from(JSON.stringify(params));
    const kind = notification ? 'notification' : 'request';
    this.tell({clientMessage: {messageId, [kind]: {method, paramsJson}, ...fields}});
  }

  end(refusal) {
    if (refusal) this.call.emit('error', refusal.error);
    else this.call.end();
  }
}

class FakeBroker {
  static async start(t, port = 0) {
    const broker = new FakeBroker();
    await broker.listen(port);
    t.after(() => broker.stop());
    return broker;
  }

  constructor() {
    this.answers = {};
    this.requests = [];
    this.metadata = {};
    // Milliseconds that the newest call had when it came.
    this.timeRemaining = Infinity;
    this.sessions = new Queue();
    // Called when a client leaves a stream of responses.
    this.left = () => {};
    this.server = new grpc.Server();
    const streams = {
      attach: (call) => this.attach(call), publish: (call) => this.publish(call),
      requestFiltered: (call) => this.stream('requestFiltered', call),
      watchConnections: (call) => this.stream('watchConnections', call),
    };
    this.server.addService(v1.SocketBrokerService, Object.fromEntries(
      METHODS.map((name) => [name, streams[name] || ((call, done) => this.unary(name, call, done))])));
  }

  listen(port) {
    return new Promise((resolve, reject) => {
      this.server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (error, bound) => {
        if (error) return reject(error);
        this.port = bound;
        this.address = `127.0.0.1:${bound}`;
        resolve();
      });
    });
  }

  stop() {
    this.server.forceShutdown();
  }

  // `answer`: a response, a Refusal, a function of the request, or an array of
  // these for one call each. For a stream of responses: an array of them, and a
  // Refusal at its end; without one it stays open.
  on(name, answer) {
    this.answers[name] = answer;
  }

  of(name) {
    return this.requests.filter(([kept]) => kept === name).map(([, request]) => request);
  }

  get names() {
    return this.requests.map(([name]) => name);
  }

  // The next service that attaches, with its start, told that it has.
  async attached() {
    const session = await this.sessions.next();
    session.start = await session.next('start');
    session.tell({started: {epoch: 7n}});
    return session;
  }

  keep(name, call, request) {
    this.requests.push([name, request]);
    this.metadata = call.metadata.getMap();
    this.timeRemaining = call.getDeadline() - Date.now();
  }

  answer(name, request) {
    let answer = this.answers[name];
    if (Array.isArray(answer)) answer = answer.shift();
    if (typeof answer === 'function') answer = answer(request);
    if (answer instanceof Refusal) throw answer;
    return answer || {};
  }

  async unary(name, call, done) {
    this.keep(name, call, call.request);
    try {
      done(null, codec(name, 'Response').fromPartial(await this.answer(name, call.request)));
    } catch (refusal) {
      done(refusal.error);
    }
  }

  publish(call) {
    this.keep('publish', call);
    call.on('data', (request) => {
      this.requests.push(['publish item', request]);
      try {
        call.write(v1.PublishResponse.fromPartial(this.answer('publish', request)));
      } catch (refusal) {
        call.emit('error', refusal.error);
      }
    });
    call.on('end', () => call.end());
    call.on('error', () => {});
  }

  stream(name, call) {
    this.keep(name, call, call.request);
    call.on('error', () => {});
    call.once('cancelled', () => this.left());
    for (const answer of this.answers[name] || []) {
      if (answer instanceof Refusal) return call.emit('error', answer.error);
      call.write(codec(name, 'Response').fromPartial(answer));
    }
  }

  attach(call) {
    this.keep('attach', call);
    this.sessions.push(new Session(call));
  }
}

function codec(method, suffix) {
  return v1[`${method[0].toUpperCase()}${method.slice(1)}${suffix}`];
}

function plain(key, value) {
  return typeof value === 'bigint' ? value.toString() : value;
}

module.exports = {codec, FakeBroker, METHODS, Refusal};
