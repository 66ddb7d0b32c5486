package integration

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"

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
