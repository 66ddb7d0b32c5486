package socketbroker

import (
	"context"
	"net"
	"path"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// How long anything may take that is expected to happen.
const patience = 10 * time.Second

// A broker in this process that answers as a test tells it, and notes its calls.
type fakeBroker struct {
	pb.UnimplementedSocketBrokerServer
	listener *bufconn.Listener
	streams  chan *fakeStream // of Attach

	mutex   sync.Mutex
	answers map[string]func(proto.Message) (proto.Message, error)
	calls   []fakeCall
}

type fakeCall struct {
	method   string
	request  proto.Message
	metadata metadata.MD
	left     time.Duration // until its deadline
}

func startFakeBroker(t *testing.T, options ...grpc.ServerOption) *fakeBroker {
	broker := &fakeBroker{
		listener: bufconn.Listen(1 << 20),
		streams:  make(chan *fakeStream, 16),
		answers:  map[string]func(proto.Message) (proto.Message, error){},
	}
	server := grpc.NewServer(append(options, grpc.UnaryInterceptor(broker.intercept))...)
	pb.RegisterSocketBrokerServer(server, broker)
	go func() { _ = server.Serve(broker.listener) }()
	t.Cleanup(server.Stop)
	return broker
}

func (b *fakeBroker) intercept(ctx context.Context, request any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	call := fakeCall{method: path.Base(info.FullMethod), request: request.(proto.Message)}
	call.metadata, _ = metadata.FromIncomingContext(ctx)
	if deadline, has := ctx.Deadline(); has {
		call.left = time.Until(deadline)
	}
	b.mutex.Lock()
	b.calls = append(b.calls, call)
	answer := b.answers[call.method]
	b.mutex.Unlock()
	if answer == nil {
		return nil, status.Errorf(codes.Unimplemented, "the test has no answer for %s", call.method)
	}
	return answer(call.request)
}

// on says what a method answers.
func (b *fakeBroker) on(method string, answer func(proto.Message) (proto.Message, error)) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.answers[method] = answer
}

// of is the calls of a method so far.
func (b *fakeBroker) of(method string) []fakeCall {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	var result []fakeCall
	for _, call := range b.calls {
		if call.method == method {
			result = append(result, call)
		}
	}
	return result
}

func (b *fakeBroker) client(t *testing.T, options ClientOptions) *Client {
	t.Helper()
	options.DialOptions = append(options.DialOptions,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return b.listener.DialContext(ctx)
		}))
	client, err := NewClient("passthrough:///broker", options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// An error as the broker makes them.
func refusal(t *testing.T, code codes.Code, message, reason string, violations ...FieldViolation) error {
	t.Helper()
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: map[string]string{"limit": "5"}}
	bad := &errdetails.BadRequest{}
	for _, violation := range violations {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: violation.Field, Description: violation.Description,
		})
	}
	result, err := status.New(code, message).WithDetails(info, bad)
	if err != nil {
		t.Fatal(err)
	}
	return result.Err()
}

// The broker's side of an Attach stream.
type fakeStream struct {
	stream pb.SocketBroker_AttachServer
	end    chan error // ends it
}

func (b *fakeBroker) Attach(stream pb.SocketBroker_AttachServer) error {
	fake := &fakeStream{stream, make(chan error)}
	b.streams <- fake
	select {
	case err := <-fake.end:
		return err
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// next is the next stream that a service opens.
func (b *fakeBroker) next(t *testing.T) *fakeStream {
	t.Helper()
	select {
	case stream := <-b.streams:
		return stream
	case <-time.After(patience):
		t.Fatal("no service attaches")
		return nil
	}
}

func (s *fakeStream) tell(t *testing.T, told *pb.AttachResponse) {
	t.Helper()
	if err := s.stream.Send(told); err != nil {
		t.Fatal(err)
	}
}

// started hears the start, and says that the service is attached.
func (s *fakeStream) started(t *testing.T) *pb.AttachStart {
	t.Helper()
	start := s.hearAny(t).GetStart()
	if start == nil {
		t.Fatal("the first request is no start")
	}
	s.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_Started{Started: &pb.AttachStarted{Epoch: 7}}})
	return start
}

// message tells a message with this content.
func (s *fakeStream) message(t *testing.T, id uint64, message *pb.ClientMessage) {
	t.Helper()
	message.MessageId = id
	if message.ConnectionId == "" {
		message.ConnectionId = "c1"
	}
	s.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_ClientMessage{ClientMessage: message}})
}

func (s *fakeStream) request(t *testing.T, id uint64, method, params string) {
	t.Helper()
	s.message(t, id, &pb.ClientMessage{Content: &pb.ClientMessage_Request{
		Request: &pb.JsonRpcCall{Method: method, ParamsJson: []byte(params)},
	}})
}

func (s *fakeStream) notification(t *testing.T, id uint64, method string) {
	t.Helper()
	s.message(t, id, &pb.ClientMessage{Content: &pb.ClientMessage_Notification{
		Notification: &pb.JsonRpcCall{Method: method},
	}})
}

func (s *fakeStream) cancelled(t *testing.T, id uint64) {
	t.Helper()
	s.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_RequestCancelled{
		RequestCancelled: &pb.RequestCancelled{MessageId: id, Cause: pb.RequestCancelled_CAUSE_CLIENT},
	}})
}

// hearAny is the next that the service says.
func (s *fakeStream) hearAny(t *testing.T) *pb.AttachRequest {
	t.Helper()
	type heard struct {
		request *pb.AttachRequest
		err     error
	}
	result := make(chan heard, 1)
	go func() {
		request, err := s.stream.Recv()
		result <- heard{request, err}
	}()
	select {
	case got := <-result:
		if got.err != nil {
			t.Fatal(got.err)
		}
		return got.request
	case <-time.After(patience):
		t.Fatal("the service says nothing")
		return nil
	}
}

// hear is the same without credit.
func (s *fakeStream) hear(t *testing.T) *pb.AttachRequest {
	t.Helper()
	for {
		if request := s.hearAny(t); request.GetCredit() == nil {
			return request
		}
	}
}

func (s *fakeStream) reply(t *testing.T) *pb.Reply {
	t.Helper()
	request := s.hear(t)
	if request.GetReply() == nil {
		t.Fatalf("got %v, want a reply", request)
	}
	return request.GetReply()
}
