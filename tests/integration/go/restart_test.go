package integration

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	socketbroker "socketbroker.dev/go"
)

func TestAttachesAgainWhenTheBrokerIsBack(t *testing.T) {
	b := startBroker(t, nil)
	var address atomic.Value // of the one that runs
	address.Store(b.control)
	client := b.client(t, socketbroker.ClientOptions{DialOptions: []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address.Load().(string))
		}),
	}})
	begun, lost := make(chan struct{}, 1), make(chan struct{})
	service := serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("wait", func(ctx context.Context, _ *socketbroker.Request) (any, error) {
			begun <- struct{}{}
			<-ctx.Done()
			close(lost)
			return nil, ctx.Err()
		})
		s.On("m", func(context.Context, *socketbroker.Request) (any, error) { return "served", nil })
	})
	b.join(t, client, "alice").send(`{"jsonrpc":"2.0","id":1,"method":"wait"}`)
	receive(t, begun, "the request")
	b.stop(t)
	receive(t, lost, "the handler to hear of it")
	again := startBroker(t, nil)
	address.Store(again.control)
	receive(t, service.started, "the service to be attached again")
	alice := again.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"m"}`)
	alice.wants(`{"jsonrpc":"2.0","id":1,"result":"served"}`)
}

// Every request is answered once: with a result, or with an error that says
// that it may be lost.
func TestOneOfTwoServicesIsLost(t *testing.T) {
	b := startBroker(t, nil)
	begun := make(chan struct{}, 1)
	lost := b.client(t, socketbroker.ClientOptions{})
	losing := serve(t, lost, socketbroker.ServiceOptions{Concurrency: 100}, func(s *socketbroker.Service) {
		s.On("m", func(ctx context.Context, _ *socketbroker.Request) (any, error) {
			begun <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	client := b.client(t, socketbroker.ClientOptions{})
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("m", func(context.Context, *socketbroker.Request) (any, error) { return "served", nil })
	})
	alice := b.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"m"}`) // to the one with the most credit
	receive(t, begun, "the request")
	must(t, lost.Close())
	wantError(t, receive(t, losing.result, "the end of Run"), codes.Canceled, "")
	alice.wants(`{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"No reply from the service"}}`)
	alice.send(`{"jsonrpc":"2.0","id":2,"method":"m"}`)
	alice.wants(`{"jsonrpc":"2.0","id":2,"result":"served"}`)
}
