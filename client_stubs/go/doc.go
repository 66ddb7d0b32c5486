// Package socketbroker is the client of socket-broker's gRPC API, with what
// every caller would otherwise write again, and a framework for services that
// clients talk to.
//
// A Client makes calls: with a deadline, waiting for the connection, and with
// the epochs that make a binding safe against a revocation that comes meanwhile.
// A Service is functions that are called with what clients send.
//
// The messages are in socketbroker.dev/go/socketbrokerv1, here called pb. What
// each call does is said in protos/socketbroker/v1/socket_broker.proto.
package socketbroker
