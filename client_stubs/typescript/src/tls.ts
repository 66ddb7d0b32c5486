import {readFileSync} from "node:fs";
import {ChannelCredentials, credentials} from "@grpc/grpc-js";

/** PEM files; each may be left out. */
export interface TlsFiles {
  /** The authorities that the broker's certificate must come from. Unset: those that Node.js brings. */
  ca?: string;
  /** What the caller proves itself with, where the broker asks for it (mTLS). Both or none. */
  certificate?: string;
  privateKey?: string;
}

/**
 * The credentials of a Client that connects with TLS. Reads the files now, and
 * throws when one cannot be read.
 */
export function tlsFromFiles(files: TlsFiles = {}): ChannelCredentials {
  if ((files.certificate === undefined) !== (files.privateKey === undefined)) {
    throw new TypeError("certificate and privateKey go together");
  }
  const read = (file?: string) => file === undefined ? null : readFileSync(file);
  return credentials.createSsl(read(files.ca), read(files.privateKey), read(files.certificate));
}
