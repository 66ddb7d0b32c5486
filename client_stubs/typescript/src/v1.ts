// Everything that the protos define, as `v1`.

export {Any} from "./generated/google/protobuf/any";
export {Duration} from "./generated/google/protobuf/duration";
export * from "./generated/socketbroker/v1/attach";
export * from "./generated/socketbroker/v1/connect_authenticator";
export * from "./generated/socketbroker/v1/connection";
export * from "./generated/socketbroker/v1/conversation";
export * from "./generated/socketbroker/v1/filter";
export * from "./generated/socketbroker/v1/handshake";
export * from "./generated/socketbroker/v1/message";
export * from "./generated/socketbroker/v1/socket_broker";
