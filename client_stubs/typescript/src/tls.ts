import {X509Certificate} from "node:crypto";
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
 * throws when one cannot be read, or is not what it should be.
 */
export function tlsFromFiles(files: TlsFiles = {}): ChannelCredentials {
  if ((files.certificate === undefined) !== (files.privateKey === undefined)) {
    throw new TypeError("certificate and privateKey go together");
  }
  const read = (file?: string) => file === undefined ? null : readFileSync(file);
  const ca = read(files.ca);
  if (ca) checkCertificate("ca", ca);
  return credentials.createSsl(ca, read(files.privateKey), read(files.certificate));
}

/** Node.js takes anything for authorities, and then trusts nobody. */
function checkCertificate(name: string, pem: Buffer): void {
  try {
    new X509Certificate(pem);
  } catch (error) {
    throw new TypeError(`${name}: no certificate in the file: ${(error as Error).message}`);
  }
}
