// Makes src/generated from the protos, with protoc (Debian: protobuf-compiler) and
// ts-proto. The protos are those of the repository, or `protos/` beside this
// package, where a copy of it has them. $PROTOC names another protoc.

'use strict';

const {execFileSync} = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const HERE = path.dirname(__dirname);
const OUT = path.join(HERE, 'src', 'generated');
const OPTIONS = [
  'env=both', // Bytes are Uint8Array.
  'esModuleInterop=false',
  'outputServices=grpc-js',
  'outputClientImpl=false', // Client is written by hand.
  'outputJsonMethods=false',
  'exportCommonSymbols=false', // They are in every file, and src/v1.ts exports all files.
  'forceLong=bigint', // A number is exact to 2^53 only.
  'useOptionals=none',
  'stringEnums=true',
  'enumsAsLiterals=true',
  'removeEnumPrefix=true',
];

function findProtos() {
  const folders = [path.join(HERE, 'protos'), path.join(HERE, '..', '..', 'protos')];
  const found = folders.find((folder) => fs.existsSync(path.join(folder, 'socketbroker', 'v1')));
  if (!found) throw new Error(`no protos in ${folders.join(' nor in ')}`);
  return found;
}

const protos = findProtos();
const own = fs.readdirSync(path.join(protos, 'socketbroker', 'v1'))
  .filter((name) => name.endsWith('.proto'))
  .map((name) => `socketbroker/v1/${name}`);

fs.rmSync(OUT, {recursive: true, force: true});
fs.mkdirSync(OUT, {recursive: true});
try {
  execFileSync(process.env.PROTOC || 'protoc', [
    `-I${protos}`,
    `--plugin=protoc-gen-ts_proto=${path.join(HERE, 'node_modules', '.bin', 'protoc-gen-ts_proto')}`,
    `--ts_proto_out=${OUT}`,
    `--ts_proto_opt=${OPTIONS.join(',')}`,
    ...own,
    'google/rpc/status.proto',
    'google/rpc/error_details.proto',
  ], {stdio: 'inherit'});
} catch (error) {
  if (error.code === 'ENOENT') console.error('protoc is not on the PATH; Debian has it in protobuf-compiler');
  process.exit(1);
}
