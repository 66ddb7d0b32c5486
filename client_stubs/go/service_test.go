package socketbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// A service that runs until the test ends.
type running struct {
	*Service
	broker *fakeBroker
	logged chan string
	waits  chan time.Duration // the bounds of waits between attachments, which take no time
	cancel context.CancelFunc
	result chan error
}

// newRunning makes a service that is not running yet.
func newRunning(t *testing.T, options ServiceOptions) *running {
	t.Helper()
	r := &running{
		broker: startFakeBroker(t), logged: make(chan string, 100), waits: make(chan time.Duration, 100),
		result: make(chan error, 1),
	}
	options.Logf = func(format string, arguments ...any) { r.logged <- fmt.Sprintf(format, arguments...) }
	r.Service = NewService(r.broker.client(t, ClientOptions{}), options)
	r.jitter = func(most time.Duration) time.Duration {
		r.waits <- most
		return 0
	}
	return r
}

func (r *running) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() { r.result <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	})
}

// attached runs it and says that it is attached.
func (r *running) attached(t *testing.T) *fakeStream {
	t.Helper()
	r.run(t)
	stream := r.broker.next(t)
	stream.started(t)
	return stream
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("not reached")
	}
}

// wantLog waits for a line with this text.
func (r *running) wantLog(t *testing.T, text string) {
	t.Helper()
	for {
		if line := receive(t, r.logged); strings.Contains(line, text) {
			return
		}
	}
}

func echo(_ context.Context, request *Request) (any, error) { return request.Params, nil }

func wantProto(t *testing.T, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func result(id uint64, text string) *pb.Reply {
	return &pb.Reply{MessageId: id, Outcome: &pb.Reply_ResultJson{ResultJson: []byte(text)}}
}

func failure(id uint64, code int64, message, data string) *pb.Reply {
	failed := &pb.JsonRpcError{Code: code, Message: message}
	if data != "" {
		failed.Data = &pb.JsonRpcError_DataJson{DataJson: []byte(data)}
	}
	return &pb.Reply{MessageId: id, Outcome: &pb.Reply_Error{Error: failed}}
}

func TestSaysWhatItWants(t *testing.T) {
	r := newRunning(t, ServiceOptions{
		Namespace: "n", Concurrency: 5, HandshakeConcurrency: 6, Idempotent: true,
		Sticky: pb.AttachMessages_STICKY_ACCOUNT, Filter: `account_id = "a1"`, EventsFilter: `account_id = "a2"`,
	})
	r.On("b.*", echo)
	r.On("a", echo)
	r.OnClosed(func(context.Context, *pb.ConnectionClosed) {})
	r.OnHandshake(func(context.Context, *pb.Handshake) (*pb.Identity, error) { return nil, nil })
	r.run(t)
	wantProto(t, r.broker.next(t).started(t), &pb.AttachStart{
		Namespace: proto.String("n"), Handshakes: true, Selector: &pb.AttachStart_Filter{Filter: `account_id = "a2"`},
		Credit: &pb.AttachCredit{Messages: 5, Handshakes: 6, Events: 1000},
		Messages: &pb.AttachMessages{
			Methods: []string{"a", "b.*"}, Selector: &pb.AttachMessages_Filter{Filter: `account_id = "a1"`},
			Sticky: pb.AttachMessages_STICKY_ACCOUNT, Idempotent: true,
		},
	})
}

func TestSaysNoMoreThanThat(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.OnMessage(func(context.Context, *Message) error { return nil })
	r.run(t)
	wantProto(t, r.broker.next(t).started(t), &pb.AttachStart{
		Credit: &pb.AttachCredit{Messages: 64, Handshakes: 64, Events: 1000}, Messages: &pb.AttachMessages{},
	})
}

func TestOptionsThatAreWrong(t *testing.T) {
	both := NewService(nil, ServiceOptions{})
	both.On("m", echo)
	both.OnMessage(func(context.Context, *Message) error { return nil })
	garbled := NewService(nil, ServiceOptions{})
	garbled.On("\xff", echo)
	for _, each := range []struct {
		service *Service
		want    string
	}{
		{NewService(nil, ServiceOptions{Concurrency: -1}), "Concurrency is -1, 1 to 100000 are allowed"},
		{NewService(nil, ServiceOptions{Concurrency: 100_001}), "Concurrency is 100001"},
		{NewService(nil, ServiceOptions{HandshakeConcurrency: 10_001}), "HandshakeConcurrency is 10001, 1 to 10000"},
		{both, "exclude each other"},
		{garbled, "invalid UTF-8"},
	} {
		if err := each.service.Run(context.Background()); err == nil || !strings.Contains(err.Error(), each.want) {
			t.Errorf("got %v, want %s", err, each.want)
		}
		if err := each.service.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("got %v the second time", err)
		}
	}
}

func TestHandlersThatAreWrong(t *testing.T) {
	service := NewService(nil, ServiceOptions{Concurrency: -1})
	service.On("m", echo)
	service.On("m*", echo)
	panics := func(what func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		what()
	}
	panics(func() { service.On("m", echo) })
	panics(func() { service.On("m*", echo) })
	panics(func() { service.On("n", nil) })
	panics(func() { service.OnMessage(nil) })
	_ = service.Run(context.Background())
	panics(func() { service.On("n", echo) })
}

func TestTheMostSpecificPatternWins(t *testing.T) {
	service := NewService(nil, ServiceOptions{})
	for _, pattern := range []string{"*", "or*", "orders.*", "orders.items.*", "orders.create", "orders.create.more"} {
		pattern := pattern
		service.On(pattern, func(context.Context, *Request) (any, error) { return pattern, nil })
	}
	for method, want := range map[string]string{
		"orders.create": "orders.create", "orders.list": "orders.*", "orders.": "orders.*", "orders": "or*",
		"orders.items.add": "orders.items.*", "o": "*", "": "*", "orders.create*": "orders.*", "orders.*": "orders.*",
	} {
		if got, _ := service.find(method)(context.Background(), nil); got != want {
			t.Errorf("%s: got %v, want %s", method, got, want)
		}
	}
}

func TestACancelledRequestGetsNoReply(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 1})
	begun := make(chan struct{})
	r.On("*", echo)
	r.On("wait", func(ctx context.Context, request *Request) (any, error) {
		begun <- struct{}{}
		<-ctx.Done()
		if request.Params != nil {
			return nil, getInfo(ctx, r.Client())
		}
		return nil, ctx.Err()
	})
	stream := r.attached(t)
	r.wantLog(t, "attached")
	stream.cancelled(t, 9)
	for _, params := range []string{"", "[]"} {
		stream.request(t, 1, "wait", params)
		receive(t, begun)
		stream.cancelled(t, 1)
		// It is over when its credit is back.
		if said := stream.hearAny(t); said.GetCredit().GetMessages() != 1 {
			t.Errorf("got %v", said)
		}
	}
	if len(r.logged) > 0 {
		t.Errorf("it says %s", <-r.logged)
	}
	stream.request(t, 2, "m", "[2]")
	wantProto(t, stream.reply(t), result(2, "[2]"))
}

func TestWhatItDoesNotKnowIsLeftAlone(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 1})
	r.On("*", echo)
	stream := r.attached(t)
	stream.tell(t, &pb.AttachResponse{})
	stream.message(t, 5, &pb.ClientMessage{})
	if credit := stream.hearAny(t).GetCredit().GetMessages(); credit != 1 {
		t.Errorf("got credit %d", credit)
	}
	stream.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_Report{Report: &pb.SendReport{Report: 1}}})
	stream.request(t, 6, "m", "[6]")
	wantProto(t, stream.reply(t), result(6, "[6]"))
}

func TestCreditGoesBackInPortions(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 8})
	r.On("*", echo)
	stream := r.attached(t)
	left, portions := 8, 0
	for n := uint64(0); n < 80; n++ {
		for left == 0 {
			left += int(stream.hearAny(t).GetCredit().GetMessages())
		}
		stream.request(t, n, "m", "")
		left--
		for said := stream.hearAny(t); said.GetReply() == nil; said = stream.hearAny(t) {
			left += int(said.GetCredit().GetMessages())
			portions++
		}
		if left > 8 {
			t.Fatalf("%d credit left", left)
		}
	}
	if portions > 30 {
		t.Errorf("%d portions", portions)
	}
}

func TestWhatIsBusyForLongKeepsNothingBack(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 4})
	end := make(chan struct{})
	defer close(end)
	r.On("*", echo)
	r.On("stuck", func(context.Context, *Request) (any, error) {
		<-end
		return nil, nil
	})
	stream := r.attached(t)
	for id := uint64(0); id < 3; id++ {
		stream.request(t, id, "stuck", "")
	}
	for id := uint64(3); id < 10; id++ {
		stream.request(t, id, "m", "[]")
		wantProto(t, stream.reply(t), result(id, "[]"))
		if credit := stream.hearAny(t).GetCredit().GetMessages(); credit != 1 {
			t.Fatalf("got credit %d", credit)
		}
	}
}

func TestHandlersThatAreBusyTakeNoCredit(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 2})
	begun, end := make(chan struct{}), make(chan struct{})
	r.On("stuck", func(context.Context, *Request) (any, error) {
		close(begun)
		<-end
		return nil, nil
	})
	stream := r.attached(t)
	stream.request(t, 1, "stuck", "")
	receive(t, begun)
	stream.end <- status.Error(codes.Unavailable, "gone")
	r.wantLog(t, "again in")
	again := r.broker.next(t)
	if start := again.started(t); start.GetCredit().GetMessages() != 1 {
		t.Errorf("got %v", start.GetCredit())
	}
	close(end)
	again.notification(t, 2, "x")
	given := again.hearAny(t).GetCredit().GetMessages()
	for given < 2 {
		given += again.hearAny(t).GetCredit().GetMessages()
	}
}

func TestHandshakesAreJudged(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.OnHandshake(func(ctx context.Context, handshake *pb.Handshake) (*pb.Identity, error) {
		if deadline, has := ctx.Deadline(); !has || time.Until(deadline) > 5*time.Second {
			t.Error("the offer has no time limit")
		}
		switch handshake.GetQuery() {
		case "refuse":
			return nil, fmt.Errorf("wrapped: %w", &Refusal{Reason: strings.Repeat("é", 62)})
		case "fault":
			return nil, errors.New("the database is away")
		case "nothing":
			return nil, nil
		case "panic":
			panic("a fault")
		case "nil refusal":
			var none *Refusal
			return nil, none
		}
		return &pb.Identity{AccountId: proto.String(handshake.GetQuery())}, nil
	})
	added := make(chan *pb.AddConnectionRequest, 10)
	r.broker.on("AddConnection", func(request proto.Message) (proto.Message, error) {
		added <- request.(*pb.AddConnectionRequest)
		switch account := request.(*pb.AddConnectionRequest).GetIdentity().GetAccountId(); account {
		case "CREDENTIAL_REVOKED", "ALREADY_BOUND":
			return nil, refusal(t, codes.FailedPrecondition, "no", account)
		}
		return &pb.AddConnectionResponse{}, nil
	})
	stream := r.attached(t)
	offer := func(id uint64, query string) {
		stream.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_HandshakeOffer{HandshakeOffer: &pb.HandshakeOffer{
			OfferId: id, ConnectionId: "c1", Handshake: &pb.Handshake{Query: query},
			Timeout: durationpb.New(5 * time.Second),
		}}})
	}
	wantRefused := func(id uint64, reason string) {
		t.Helper()
		wantProto(t, stream.hear(t).GetRefuseHandshake(), &pb.RefuseHandshake{OfferId: id, Reason: reason})
	}
	offer(1, "a1")
	wantProto(t, receive(t, added), &pb.AddConnectionRequest{
		ConnectionId: "c1", Identity: &pb.Identity{AccountId: proto.String("a1")},
	})
	offer(2, "refuse")
	wantRefused(2, strings.Repeat("é", 61))
	offer(3, "CREDENTIAL_REVOKED")
	wantRefused(3, "")
	offer(4, "ALREADY_BOUND")
	r.wantLog(t, "ALREADY_BOUND")
	faults := map[string]string{
		"fault": "database is away", "nothing": "neither", "panic": "a fault", "nil refusal": "a nil *Refusal",
	}
	for query, fault := range faults {
		offer(5, query)
		r.wantLog(t, fault)
	}
	offer(9, "refuse") // nothing was said of the others
	wantRefused(9, strings.Repeat("é", 61))
}
