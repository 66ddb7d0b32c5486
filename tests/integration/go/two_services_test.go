package integration

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

// named is a service that tells its name when asked "who". A request "hold" is
// told to held, and not replied to before the service is lost.
type named struct {
	*runs
	client *socketbroker.Client
	held   chan string
}

func serveNamed(t *testing.T, b *broker, name string, options socketbroker.ServiceOptions) *named {
	t.Helper()
	n := &named{client: b.client(t, socketbroker.ClientOptions{}), held: make(chan string, 100)}
	n.runs = serve(t, n.client, options, func(s *socketbroker.Service) {
		// One pattern: with sticky, each has its own service.
		s.On("*", func(ctx context.Context, request *socketbroker.Request) (any, error) {
			if request.Method == "who" {
				return name, nil
			}
			n.held <- request.ConnectionID
			<-ctx.Done()
			return nil, ctx.Err()
		})
	})
	return n
}

func (n *named) lose(t *testing.T) {
	t.Helper()
	must(t, n.client.Close())
	wantError(t, receive(t, n.result, "the end of Run"), codes.Canceled, "")
}

func (s *socket) wantsToBeWith(name string) {
	s.t.Helper()
	s.send(`{"jsonrpc":"2.0","id":"w","method":"who"}`)
	s.wants(fmt.Sprintf(`{"jsonrpc":"2.0","id":"w","result":%q}`, name))
}

func TestARequestThatMayBeDoneTwice(t *testing.T) {
	b := startBroker(t, nil)
	first := serveNamed(t, b, "first", socketbroker.ServiceOptions{Idempotent: true, Concurrency: 10})
	second := serveNamed(t, b, "second", socketbroker.ServiceOptions{Idempotent: true, Concurrency: 5})
	alice := b.join(t, b.client(t, socketbroker.ClientOptions{}), "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"hold"}`)
	connection := receive(t, first.held, "the request")
	first.lose(t)
	if got := receive(t, second.held, "the request again"); got != connection {
		t.Errorf("got %s, want %s", got, connection)
	}
	alice.wantsToBeWith("second")
}

func TestAConnectionStaysWithItsService(t *testing.T) {
	b := startBroker(t, nil)
	sticky := socketbroker.ServiceOptions{Sticky: pb.AttachMessages_STICKY_CONNECTION, Concurrency: 10}
	first := serveNamed(t, b, "first", sticky)
	sticky.Concurrency = 5
	second := serveNamed(t, b, "second", sticky)
	client := b.client(t, socketbroker.ClientOptions{})
	alice, bob := b.join(t, client, "alice"), b.join(t, client, "bob")
	// It stays where it began, though the other soon has more credit left.
	const many = 8
	for id := 0; id < many; id++ {
		alice.send(`{"jsonrpc":"2.0","id":%d,"method":"hold"}`, id)
	}
	for id := 0; id < many; id++ {
		receive(t, first.held, "a request")
	}
	bob.send(`{"jsonrpc":"2.0","id":1,"method":"hold"}`)
	receive(t, second.held, "the request of another")
	alice.wantsToBeWith("first")
	bob.wantsToBeWith("second")
	// Until that is gone.
	first.lose(t)
	for id := 0; id < many; id++ {
		if _, _, err := alice.ReadMessage(); err != nil { // -32001, in any order
			t.Fatal(err)
		}
	}
	alice.wantsToBeWith("second")
}
