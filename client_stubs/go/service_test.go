package socketbroker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
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

func TestWhatAHandlerGets(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	requests := make(chan *Request, 1)
	r.On("*", func(_ context.Context, request *Request) (any, error) {
		requests <- request
		return nil, nil
	})
	stream := r.attached(t)
	told := &pb.ClientMessage{
		Content:      &pb.ClientMessage_Request{Request: &pb.JsonRpcCall{Method: "m", ParamsJson: []byte(`{ "n" : 1.50 }`)}},
		ConnectionId: "c9", Identity: &pb.Identity{AccountId: proto.String("a1")}, Endpoint: "/ws",
		RemoteAddress: "127.0.0.9", RemotePort: 99, Sequence: 3, Traceparent: "00-trace",
	}
	stream.message(t, 1, told)
	got := receive(t, requests)
	wantProto(t, got.Identity, told.Identity)
	got.Identity, got.attachment = nil, nil
	want := &Request{
		Sender: Sender{ConnectionID: "c9", Endpoint: "/ws", RemoteAddress: "127.0.0.9", RemotePort: 99, Sequence: 3,
			Traceparent: "00-trace"},
		Method: "m", Params: json.RawMessage(`{ "n" : 1.50 }`),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	wantProto(t, stream.reply(t), result(1, "null"))
	stream.notification(t, 2, "n")
	n := 7
	got = receive(t, requests)
	if got.Method != "n" || got.Params != nil || !got.IsNotification {
		t.Errorf("got %+v", got)
	}
	if err := got.Decode(&n); err != nil || n != 7 {
		t.Errorf("got %v, %d", err, n)
	}
}

func TestWhatAHandlerAnswers(t *testing.T) {
	var nested any
	for i := 0; i < 32; i++ {
		nested = []any{nested}
	}
	cases := []struct {
		name   string
		answer func() (any, error)
		want   *pb.Reply
		log    string
	}{
		{"a struct", func() (any, error) {
			return struct {
				N int `json:"n"`
			}{1}, nil
		}, result(0, `{"n":1}`), ""},
		{"no escapes", func() (any, error) { return "<é>", nil }, result(0, `"<é>"`), ""},
		{"raw", func() (any, error) { return json.RawMessage(`{ "n" : 1.50 }`), nil }, result(0, `{"n":1.50}`), ""},
		{"an error", func() (any, error) { return nil, &JSONRPCError{Code: -7, Message: "no\xff"} }, failure(0, -7, "no\ufffd", ""), ""},
		{"with data, wrapped", func() (any, error) {
			return nil, fmt.Errorf("wrapped: %w", &JSONRPCError{Code: 1, Message: "m", Data: []int{1}})
		}, failure(0, 1, "m", "[1]"), ""},
		{"another error", func() (any, error) { return 1, errors.New("a secret") }, failure(0, -32603, "Internal error", ""), "a secret"},
		{"a panic", func() (any, error) { panic("a fault") }, failure(0, -32603, "Internal error", ""), "a fault"},
		{"not JSON", func() (any, error) { return math.Inf(1), nil }, failure(0, -32603, "Internal error", ""), "unsupported value"},
		{"too deep", func() (any, error) { return nested, nil }, failure(0, -32603, "Internal error", ""), "more than 31 levels"},
		{"data that is wrong", func() (any, error) { return nil, &JSONRPCError{Data: math.NaN()} },
			failure(0, -32603, "Internal error", ""), "the error's data"},
	}
	r := newRunning(t, ServiceOptions{Concurrency: 1})
	r.On("*", func(_ context.Context, request *Request) (any, error) {
		var n int
		if err := request.Decode(&n); err != nil {
			return nil, err
		}
		return cases[n].answer()
	})
	stream := r.attached(t)
	for n, each := range cases {
		stream.request(t, uint64(n), "m", fmt.Sprint(n))
		each.want.MessageId = uint64(n)
		t.Run(each.name, func(t *testing.T) {
			wantProto(t, stream.reply(t), each.want)
			if each.log != "" {
				r.wantLog(t, each.log)
			}
		})
	}
	stream.request(t, 100, "m", `"x"`)
	wantProto(t, stream.reply(t), failure(100, -32602, "Invalid params", ""))
}

func TestJSONThatTheBrokerDoesNotTake(t *testing.T) {
	for text, fault := range map[string]string{
		`{"a":1,"a":2}`: "twice", `[{"\u0061":1,"b":2,"a":3}]`: "twice", `[1e999]`: "too large",
		"\"\xff\"": "not UTF-8", `[[[1]]]`: "more than 2 levels", `{"a":[{}]}`: "more than 2 levels",
		`[[1],[2],{"a":null,"b":"a"},{"a":"a"}]`: "", `{}`: "", `"a"`: "", `-1.5e300`: "",
	} {
		_, err := encode(json.RawMessage(text), 2)
		if (fault == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%s: got %v, want %q", text, err, fault)
		}
	}
}

func TestNotificationsComeBeforeTheReply(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.On("m", func(_ context.Context, request *Request) (any, error) {
		for _, params := range []any{nil, map[string]int{"n": 1}, []int{2}} {
			if err := request.Notify("progress", params); err != nil {
				return nil, err
			}
		}
		var faults []string
		for _, err := range []error{
			request.Notify("", nil), request.Notify("rpc.x", nil), request.Notify("\xff", nil),
			request.Notify(strings.Repeat("m", 257), nil), request.Notify("m", 1), request.Notify("m", math.NaN()),
		} {
			faults = append(faults, err.Error())
		}
		return faults, nil
	})
	stream := r.attached(t)
	stream.request(t, 1, "m", "")
	for _, params := range []string{"", `{"n":1}`, "[2]"} {
		notification := &pb.JsonRpcNotification{Method: "progress"}
		if params != "" {
			notification.Params = &pb.JsonRpcNotification_ParamsJson{ParamsJson: []byte(params)}
		}
		wantProto(t, stream.hear(t), &pb.AttachRequest{Message: &pb.AttachRequest_Send{Send: &pb.ClientSend{
			ConnectionId: "c1", Message: &pb.Message{Content: &pb.Message_Notification{Notification: notification}},
		}}})
	}
	var faults []string
	if err := json.Unmarshal(stream.reply(t).GetResultJson(), &faults); err != nil || len(faults) != 6 {
		t.Errorf("got %v, %v", faults, err)
	}
}

func TestANotificationGetsNoReply(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.On("*", echo)
	r.On("fail", func(context.Context, *Request) (any, error) { return nil, errors.New("a fault") })
	stream := r.attached(t)
	stream.notification(t, 1, "m")
	stream.notification(t, 2, "fail")
	r.wantLog(t, "a fault")
	stream.request(t, 3, "m", "[3]")
	wantProto(t, stream.reply(t), result(3, "[3]"))
}

func TestRawMessagesOfAConnectionAreInOrder(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	first := make(chan struct{})
	r.OnMessage(func(_ context.Context, message *Message) error {
		if string(message.Data) == "1" {
			<-first
		}
		if err := message.SendText("\xff"); err == nil {
			t.Error("no error")
		}
		if message.Binary {
			return message.SendBinary(message.Data)
		}
		if string(message.Data) == "fail" {
			panic("a fault")
		}
		return message.SendText(string(message.Data))
	})
	stream := r.attached(t)
	text := func(connection, text string) *pb.ClientMessage {
		return &pb.ClientMessage{ConnectionId: connection, Content: &pb.ClientMessage_Text{Text: text}}
	}
	for id, message := range []*pb.ClientMessage{
		text("c1", "1"), text("c1", "fail"), text("c1", "2"), text("c2", "3"),
		{ConnectionId: "c1", Content: &pb.ClientMessage_Binary{Binary: []byte("\xff")}},
	} {
		stream.message(t, uint64(id), message)
	}
	wants := func(connection string, message *pb.Message) {
		t.Helper()
		wantProto(t, stream.hear(t).GetSend(), &pb.ClientSend{ConnectionId: connection, Message: message})
	}
	wants("c2", &pb.Message{Content: &pb.Message_Text{Text: "3"}})
	close(first)
	wants("c1", &pb.Message{Content: &pb.Message_Text{Text: "1"}})
	wants("c1", &pb.Message{Content: &pb.Message_Text{Text: "2"}})
	wants("c1", &pb.Message{Content: &pb.Message_Binary{Binary: []byte("\xff")}})
	r.wantLog(t, "a fault")
}

func TestACancelledRequestGetsNoReply(t *testing.T) {
	r := newRunning(t, ServiceOptions{Concurrency: 1})
	begun := make(chan struct{})
	r.On("*", echo)
	r.On("wait", func(ctx context.Context, _ *Request) (any, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	stream := r.attached(t)
	r.wantLog(t, "attached")
	stream.request(t, 1, "wait", "")
	receive(t, begun)
	stream.cancelled(t, 9)
	stream.cancelled(t, 1)
	// It is over when its credit is back.
	if said := stream.hearAny(t); said.GetCredit().GetMessages() != 1 {
		t.Errorf("got %v", said)
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
	for id, query := range []string{"fault", "nothing", "panic"} {
		offer(uint64(5+id), query)
		r.wantLog(t, map[string]string{"fault": "database is away", "nothing": "neither", "panic": "a fault"}[query])
	}
	offer(9, "refuse") // nothing was said of the others
	wantRefused(9, strings.Repeat("é", 61))
}
