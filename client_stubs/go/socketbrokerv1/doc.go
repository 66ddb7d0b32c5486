// Package socketbrokerv1 has the messages and services of socket-broker's gRPC
// API. All but this file is made from the protos by ../generate.sh.
package socketbrokerv1
