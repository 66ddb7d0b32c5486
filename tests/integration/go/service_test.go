package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

// runs is a service while it runs.
type runs struct {
	*socketbroker.Service
	started chan struct{} // once for each attachment
	result  chan error
}

// serve runs a service until the test ends, and waits until it is attached.
func serve(t *testing.T, client *socketbroker.Client, options socketbroker.ServiceOptions,
	set func(*socketbroker.Service)) *runs {
	t.Helper()
	var mutex sync.Mutex
	ended := false // then t.Logf panics
	options.Logf = func(format string, arguments ...any) {
		mutex.Lock()
		defer mutex.Unlock()
		if !ended {
			t.Logf(format, arguments...)
		}
	}
	r := &runs{socketbroker.NewService(client, options), make(chan struct{}, 10), make(chan error, 1)}
	r.OnStarted(func(context.Context) { r.started <- struct{}{} })
	set(r.Service)
	ctx, cancel := context.WithCancel(ctx)
	go func() { r.result <- r.Run(ctx) }()
	t.Cleanup(func() {
		mutex.Lock()
		defer mutex.Unlock()
		ended = true
		cancel()
		// Nil: it has been drained.
		select {
		case err := <-r.result:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		default:
		}
	})
	receive(t, r.started, "the service to be attached")
	return r
}

func TestRequestsAndReplies(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	notified := make(chan *socketbroker.Request, 1)
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("orders.*", func(_ context.Context, request *socketbroker.Request) (any, error) {
			if err := request.Notify("progress", map[string]int{"done": 1}); err != nil {
				return nil, err
			}
			return map[string]any{"for": request.Identity.GetAccountId(), "got": request.Params}, nil
		})
		s.On("orders.refuse", func(context.Context, *socketbroker.Request) (any, error) {
			return nil, &socketbroker.JSONRPCError{Code: -7, Message: "no", Data: []int{1}}
		})
		s.On("orders.fail", func(context.Context, *socketbroker.Request) (any, error) {
			return nil, errors.New("a secret")
		})
		s.On("note", func(_ context.Context, request *socketbroker.Request) (any, error) {
			notified <- request
			return nil, nil
		})
	})
	alice := b.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":"x","method":"orders.create","params":[1.50]}`)
	alice.wants(`{"jsonrpc":"2.0","method":"progress","params":{"done":1}}`)
	alice.wants(`{"jsonrpc":"2.0","id":"x","result":{"for":"alice","got":[1.50]}}`)
	alice.send(`{"jsonrpc":"2.0","id":2,"method":"orders.refuse"}`)
	alice.wants(`{"jsonrpc":"2.0","id":2,"error":{"code":-7,"message":"no","data":[1]}}`)
	alice.send(`{"jsonrpc":"2.0","id":3,"method":"orders.fail"}`)
	alice.wants(`{"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"Internal error"}}`)
	alice.send(`{"jsonrpc":"2.0","method":"note","params":{"a":1},"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`)
	got := receive(t, notified, "the notification")
	if !got.IsNotification || string(got.Params) != `{"a":1}` || got.Sequence != 4 || got.Endpoint != "/ws" ||
		got.RemoteAddress != "127.0.0.1" || got.RemotePort == 0 || got.ConnectionID == "" ||
		got.Traceparent != "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" ||
		!proto.Equal(got.Identity, identity("alice")) {
		t.Errorf("got %+v", got)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	b := startBroker(t, map[string]any{"endpoints": []any{
		map[string]any{"path": "/ws", "max_requests_in_flight": 1000},
	}})
	client := b.client(t, socketbroker.ClientOptions{})
	serve(t, client, socketbroker.ServiceOptions{Concurrency: 4}, func(s *socketbroker.Service) {
		s.On("*", func(_ context.Context, request *socketbroker.Request) (any, error) { return request.Params, nil })
	})
	alice := b.join(t, client, "alice")
	const many = 1000
	for n := 0; n < many; n++ {
		alice.send(`{"jsonrpc":"2.0","id":%d,"method":"echo","params":[%d]}`, n, n)
	}
	seen := map[int]bool{}
	for range make([]struct{}, many) {
		var reply struct {
			ID     int
			Result []int
		}
		_, text, err := alice.ReadMessage()
		must(t, err)
		must(t, json.Unmarshal(text, &reply))
		if len(reply.Result) != 1 || reply.Result[0] != reply.ID || seen[reply.ID] {
			t.Fatalf("got %s", text)
		}
		seen[reply.ID] = true
	}
}

func TestAClientCancelsItsRequest(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	begun, cancelled := make(chan struct{}), make(chan struct{}, 1)
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("wait", func(ctx context.Context, _ *socketbroker.Request) (any, error) {
			begun <- struct{}{}
			<-ctx.Done()
			cancelled <- struct{}{}
			return "late", nil
		})
	})
	alice := b.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"wait"}`)
	receive(t, begun, "the request")
	alice.send(`{"jsonrpc":"2.0","method":"cancel","params":{"request_id":1}}`)
	receive(t, cancelled, "the cancellation")
	alice.wants(`{"jsonrpc":"2.0","id":1,"error":{"code":-32800,"message":"Request cancelled"}}`)
	alice.send(`{"jsonrpc":"2.0","id":2,"method":"wait"}`)
	receive(t, begun, "the request")
	alice.Close()
	receive(t, cancelled, "the end of the connection")
}

func TestHandshakesAndEvents(t *testing.T) {
	b := startBroker(t, map[string]any{"endpoints": []any{map[string]any{"path": "/ws", "ways": []string{"ATTACH"}}}})
	client := b.client(t, socketbroker.ClientOptions{})
	told := make(chan string, 10)
	serve(t, client, socketbroker.ServiceOptions{EventsFilter: `account_id = "alice"`}, func(s *socketbroker.Service) {
		s.OnHandshake(func(_ context.Context, handshake *pb.Handshake) (*pb.Identity, error) {
			if len(handshake.GetCookies()) == 0 {
				return nil, &socketbroker.Refusal{Reason: "log in first"}
			}
			return identity(handshake.GetCookies()[0].GetValue()), nil
		})
		s.OnAdmitted(func(_ context.Context, connection *pb.Connection) {
			told <- "admitted " + connection.GetIdentity().GetAccountId()
		})
		s.OnUpdated(func(_ context.Context, connection *pb.Connection) {
			told <- fmt.Sprint("updated ", connection.GetIdentity().GetGroups())
		})
		s.OnClosed(func(_ context.Context, closed *pb.ConnectionClosed) {
			told <- fmt.Sprint("closed ", closed.GetCode(), " ", closed.GetCause())
		})
	})
	stranger := b.connect(t, "/ws", nil)
	_, _, err := stranger.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != 4006 || closed.Text != "log in first" {
		t.Errorf("got %v", err)
	}
	b.connect(t, "/ws", http.Header{"Cookie": {"session=bob"}})
	alice := b.connect(t, "/ws", http.Header{"Cookie": {"session=alice"}})
	wants := func(want string) {
		t.Helper()
		if got := receive(t, told, want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	wants("admitted alice")
	_, err = client.UpdateConnectionsFiltered(ctx, &pb.UpdateConnectionsFilteredRequest{
		Selector: &pb.UpdateConnectionsFilteredRequest_MatchAll{MatchAll: true}, AddGroups: []string{"g"},
	})
	must(t, err)
	wants("updated [g]")
	_, err = client.CloseSocketsForAccount(ctx, &pb.CloseSocketsForAccountRequest{AccountId: proto.String("alice")})
	must(t, err)
	wants("closed 4001 CAUSE_REVOKED")
	alice.wantsClosed(4001)
}

func TestRawMessages(t *testing.T) {
	b := startBroker(t, map[string]any{"endpoints": []any{
		map[string]any{"path": "/raw", "namespace": "raw", "framing": "RAW"},
	}})
	client := b.client(t, socketbroker.ClientOptions{})
	serve(t, client, socketbroker.ServiceOptions{Namespace: "raw"}, func(s *socketbroker.Service) {
		s.OnMessage(func(_ context.Context, message *socketbroker.Message) error {
			if message.Binary {
				return message.SendBinary(message.Data)
			}
			return message.SendText(string(message.Data))
		})
	})
	ticket, err := client.CreateTicketVerified(ctx, &pb.CreateTicketRequest{Namespace: proto.String("raw")}, is("alice"))
	must(t, err)
	alice := b.connect(t, "/raw?ticket="+ticket.GetTicket(), nil)
	const many = 200 // more than the credit
	for n := 0; n < many; n++ {
		must(t, alice.WriteMessage(websocket.TextMessage+n%2, []byte(fmt.Sprint(n))))
	}
	for n := 0; n < many; n++ {
		kind, got, err := alice.ReadMessage()
		must(t, err)
		if kind != websocket.TextMessage+n%2 || string(got) != fmt.Sprint(n) {
			t.Fatalf("got %d %s, want %d", kind, got, n)
		}
	}
}

func TestADrainRepliesToWhatIsOpen(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	begun, end := make(chan struct{}), make(chan struct{})
	first := serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("m", func(context.Context, *socketbroker.Request) (any, error) {
			begun <- struct{}{}
			<-end
			return "first", nil
		})
	})
	alice := b.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"m"}`)
	receive(t, begun, "the request")
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("m*", func(context.Context, *socketbroker.Request) (any, error) { return "second", nil })
	})
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(ctx) }()
	end <- struct{}{}
	alice.wants(`{"jsonrpc":"2.0","id":1,"result":"first"}`)
	must(t, receive(t, drained, "the end of the drain"))
	must(t, receive(t, first.result, "the end of Run"))
	alice.send(`{"jsonrpc":"2.0","id":2,"method":"m"}`)
	alice.wants(`{"jsonrpc":"2.0","id":2,"result":"second"}`)
}

func TestThereIsNoUseInTryingAgain(t *testing.T) {
	b := startBroker(t, map[string]any{"control": map[string]any{"callers": []any{caller("SEND")}}})
	for _, each := range []struct {
		key  string
		want codes.Code
	}{{"", codes.Unauthenticated}, {secret, codes.PermissionDenied}} {
		client := b.client(t, socketbroker.ClientOptions{APIKey: each.key})
		wantEnd(t, client, socketbroker.ServiceOptions{}, each.want)
	}
	b = startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	failed := wantEnd(t, client, socketbroker.ServiceOptions{Filter: "nonsense = 1"}, codes.InvalidArgument)
	if len(failed.Violations) != 1 || failed.Violations[0].Field != "messages.filter" {
		t.Errorf("got %v", failed)
	}
}

// wantEnd runs a service, which ends by itself.
func wantEnd(t *testing.T, client *socketbroker.Client, options socketbroker.ServiceOptions, code codes.Code) *socketbroker.Error {
	t.Helper()
	service := socketbroker.NewService(client, options)
	service.On("m", func(context.Context, *socketbroker.Request) (any, error) { return nil, nil })
	result := make(chan error, 1)
	go func() { result <- service.Run(ctx) }()
	err := receive(t, result, "the end of Run")
	var failed *socketbroker.Error
	if !errors.As(err, &failed) || failed.Code != code {
		t.Fatalf("got %v, want %v", err, code)
	}
	return failed
}

// Nobody else's request suffers from an answer that the broker would not take.
func TestAWrongAnswerIsTheFaultOfOneHandler(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	begun, end := make(chan struct{}), make(chan struct{})
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("half", func(context.Context, *socketbroker.Request) (any, error) {
			return json.RawMessage(`"\ud83d"`), nil
		})
		s.On("long", func(context.Context, *socketbroker.Request) (any, error) { return make([]byte, 4<<20), nil })
		s.On("wait", func(context.Context, *socketbroker.Request) (any, error) {
			close(begun)
			<-end
			return "served", nil
		})
	})
	alice, bob := b.join(t, client, "alice"), b.join(t, client, "bob")
	bob.send(`{"jsonrpc":"2.0","id":1,"method":"wait"}`)
	receive(t, begun, "the request")
	for _, method := range []string{"half", "long"} {
		alice.send(`{"jsonrpc":"2.0","id":1,"method":%q}`, method)
		alice.wants(`{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}`)
	}
	close(end)
	bob.wants(`{"jsonrpc":"2.0","id":1,"result":"served"}`)
}
