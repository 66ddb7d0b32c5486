// Errors of the broker, with what they say beside code and message.

import {ServiceError, status} from "@grpc/grpc-js";
import {BadRequest, ErrorInfo} from "./generated/google/rpc/error_details";
import {Status} from "./generated/google/rpc/status";
import {PublishError} from "./v1";

const DOMAIN = "socketbroker";
const DETAILS_KEY = "grpc-status-details-bin";

/** A wrong field of the request. */
export interface FieldViolation {
  /** Its path, such as `identity.account_id`. */
  field: string;
  /** What is wrong with it. */
  description: string;
}

interface Details {
  reason: string;
  metadata: Record<string, string>;
  violations: FieldViolation[];
}

/** A call failed. */
export class BrokerError extends Error implements Details {
  /** The code: one of grpc-js's `status`. */
  readonly code: status;
  /** A sentence for a developer, without code and reason. */
  readonly details: string;
  /** A constant such as "CREDENTIAL_REVOKED"; empty when the error has none or is not the broker's own. */
  readonly reason: string;
  /** More facts that belong to the reason. */
  readonly metadata: Record<string, string>;
  /** Every wrong field of the request that the broker found. */
  readonly violations: FieldViolation[];

  constructor(code: status, details: string, more: Partial<Details> = {}) {
    super(`${status[code]}: ${details}${more.reason ? ` (${more.reason})` : ""}`);
    this.name = "BrokerError";
    this.code = code;
    this.details = details;
    this.reason = more.reason ?? "";
    this.metadata = more.metadata ?? {};
    this.violations = more.violations ?? [];
  }
}

/** The BrokerError for an error of grpc-js. Details that cannot be read are left out. */
export function fromServiceError(error: ServiceError): BrokerError {
  let details: Partial<Details> = {};
  try {
    for (const value of error.metadata?.get(DETAILS_KEY) ?? []) {
      details = readDetails(Status.decode(value as Buffer));
    }
  } catch {
    // Not the broker's, or cut off on the way: the code tells.
  }
  return new BrokerError(error.code, error.details, details);
}

/** The BrokerError for the error of an item of Publish: what the call of its own would have thrown. */
export function fromPublishError(error: PublishError): BrokerError {
  const code = error.code in status ? error.code : status.UNKNOWN;
  return new BrokerError(code, error.message, readDetails(error));
}

function readDetails({details}: Pick<Status, "details">): Details {
  const result: Details = {reason: "", metadata: {}, violations: []};
  for (const {typeUrl, value} of details) {
    const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
    if (name === "google.rpc.ErrorInfo") {
      const info = ErrorInfo.decode(value);
      if (info.domain === DOMAIN) Object.assign(result, {reason: info.reason, metadata: info.metadata});
    } else if (name === "google.rpc.BadRequest") {
      for (const {field, description} of BadRequest.decode(value).fieldViolations) {
        result.violations.push({field, description});
      }
    }
  }
  return result;
}
