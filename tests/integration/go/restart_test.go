package integration

import (
	"context"
	"strings"
	"testing"

	socketbroker "socketbroker.dev/go"
)

func TestAttachesAgainWhenTheBrokerIsBack(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
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
	again := startBrokerAt(t, nil, strings.TrimPrefix(b.control, "127.0.0.1:"))
	receive(t, service.started, "the service to be attached again")
	alice := again.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"m"}`)
	alice.wants(`{"jsonrpc":"2.0","id":1,"result":"served"}`)
}
