// The built package as its users have it, and what it depends on. It is that of
// the source tree, or in $TYPESCRIPT_CLIENT.

'use strict';

const {createRequire} = require('node:module');
const path = require('node:path');

const FOLDER = process.env.TYPESCRIPT_CLIENT
  || path.join(__dirname, '..', '..', '..', 'client_stubs', 'typescript');
// Its own name, from within: so `exports` of its package.json is what is used.
const load = createRequire(path.join(FOLDER, 'package.json'));

module.exports = {
  FOLDER,
  grpc: load('@grpc/grpc-js'),
  socketbroker: load('@socket-broker/client'),
  // What is not for users.
  internal: (name) => load(path.join(FOLDER, 'dist', name)),
};
