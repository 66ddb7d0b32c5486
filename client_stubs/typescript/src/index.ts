/** Client and service framework for socket-broker. Messages are in `v1`. */

export {HandshakeHandler, RawHandler} from "./attachment";
export {CallOptions, Client, ClientOptions, ConnectionFor, TicketFor, Verify} from "./client";
export {BrokerError, FieldViolation, fromPublishError} from "./error";
export {duration, Input} from "./input";
export {JsonRpcError} from "./json_rpc";
export {HandshakeContext, MessageContext, MethodContext, RawContext, Refusal, refuse} from "./context";
export {Logger} from "./logger";
export {Service, ServiceOptions} from "./service";
export {AttachStream, Responses} from "./streams";
export {TlsFiles, tlsFromFiles} from "./tls";
export * as v1 from "./v1";
