package socketbroker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "socketbroker.dev/go/socketbrokerv1"
)

func info(epoch uint64) func(proto.Message) (proto.Message, error) {
	return func(proto.Message) (proto.Message, error) { return &pb.GetBrokerInfoResponse{Epoch: epoch}, nil }
}

func getInfo(ctx context.Context, client *Client, options ...grpc.CallOption) error {
	_, err := client.GetBrokerInfo(ctx, &pb.GetBrokerInfoRequest{}, options...)
	return err
}

func wantError(t *testing.T, err error, code codes.Code) *Error {
	t.Helper()
	var failed *Error
	if !errors.As(err, &failed) || failed.Code != code {
		t.Fatalf("got %v, want an Error with %v", err, code)
	}
	return failed
}

func wantDeadline(t *testing.T, broker *fakeBroker, most time.Duration) {
	t.Helper()
	calls := broker.of("GetBrokerInfo")
	left := calls[len(calls)-1].left
	if left > most || left < most-patience/2 {
		t.Errorf("a call had %v left, want about %v", left, most)
	}
}

func TestCallsHaveADeadline(t *testing.T) {
	broker := startFakeBroker(t)
	broker.on("GetBrokerInfo", info(1))
	for _, each := range []struct {
		timeout time.Duration
		want    time.Duration
	}{{0, 10 * time.Second}, {time.Minute, time.Minute}} {
		if err := getInfo(context.Background(), broker.client(t, ClientOptions{Timeout: each.timeout})); err != nil {
			t.Fatal(err)
		}
		wantDeadline(t, broker, each.want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := getInfo(ctx, broker.client(t, ClientOptions{})); err != nil {
		t.Fatal(err)
	}
	wantDeadline(t, broker, time.Hour)
}

func TestAClientThatIsAskedHasItsTime(t *testing.T) {
	broker := startFakeBroker(t)
	client := broker.client(t, ClientOptions{})
	for _, each := range []struct{ timeout, want time.Duration }{{0, 10 * time.Second}, {time.Minute, 65 * time.Second}} {
		_, err := client.RequestConnection(context.Background(), &pb.RequestConnectionRequest{Timeout: durationpb.New(each.timeout)})
		wantError(t, err, codes.Unimplemented)
		calls := broker.of("RequestConnection")
		if left := calls[len(calls)-1].left; left > each.want || left < each.want-patience/2 {
			t.Errorf("a call had %v left, want about %v", left, each.want)
		}
	}
}

func TestAnAPIKeyThatCannotBeSent(t *testing.T) {
	for _, key := range []string{"canary\n", "can\xe4ry"} {
		_, err := NewClient("127.0.0.1:1", ClientOptions{APIKey: key})
		if err == nil || strings.Contains(err.Error(), "can") {
			t.Errorf("got %v", err)
		}
	}
}

func TestLongAnswers(t *testing.T) {
	broker := startFakeBroker(t)
	connection := &pb.Connection{Query: strings.Repeat("q", 10_000)}
	broker.on("ListConnections", func(proto.Message) (proto.Message, error) {
		response := &pb.ListConnectionsResponse{}
		for range make([]struct{}, 1000) {
			response.Connections = append(response.Connections, connection)
		}
		return response, nil
	})
	page, err := broker.client(t, ClientOptions{}).ListConnections(context.Background(), &pb.ListConnectionsRequest{})
	if err != nil || len(page.GetConnections()) != 1000 {
		t.Error(err)
	}
}

func TestEveryMethodIsThere(t *testing.T) {
	broker := startFakeBroker(t)
	client := reflect.ValueOf(broker.client(t, ClientOptions{}))
	methods := pb.File_socketbroker_v1_socket_broker_proto.Services().ByName("SocketBroker").Methods()
	for i := 0; i < methods.Len(); i++ {
		name := string(methods.Get(i).Name())
		method := client.MethodByName(name)
		if !method.IsValid() {
			t.Errorf("Client has no method %s", name)
		} else if !methods.Get(i).IsStreamingClient() && !methods.Get(i).IsStreamingServer() {
			request := reflect.New(method.Type().In(1).Elem())
			result := method.Call([]reflect.Value{reflect.ValueOf(context.Background()), request})
			wantError(t, result[1].Interface().(error), codes.Unimplemented)
			if len(broker.of(name)) != 1 {
				t.Errorf("%s called something else", name)
			}
		}
	}
}

func TestWaitsForTheBroker(t *testing.T) {
	socket := t.TempDir() + "/broker"
	dials := make(chan struct{}, 100)
	client, err := NewClient("passthrough:///"+socket, ClientOptions{DialOptions: []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			dials <- struct{}{}
			return (&net.Dialer{}).DialContext(ctx, "unix", address)
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	failed := wantError(t, getInfo(context.Background(), client, grpc.WaitForReady(false)), codes.Unavailable)
	if failed.Reason != "" || failed.Message == "" {
		t.Errorf("got %v", failed)
	}
	done := make(chan error)
	go func() { done <- getInfo(context.Background(), client) }()
	<-dials
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterSocketBrokerServer(server, pb.UnimplementedSocketBrokerServer{})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	wantError(t, <-done, codes.Unimplemented)
}

func TestGivesUpAtOnceWhenToldSo(t *testing.T) {
	client, err := NewClient("unix:"+t.TempDir()+"/nobody", ClientOptions{FailFast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wantError(t, getInfo(context.Background(), client), codes.Unavailable)
}

func TestErrorsSayAll(t *testing.T) {
	broker := startFakeBroker(t)
	client := broker.client(t, ClientOptions{})
	violation := FieldViolation{"message", "is required"}
	broker.on("Send", func(proto.Message) (proto.Message, error) {
		return nil, refusal(t, codes.InvalidArgument, "no", "SOME_REASON", violation)
	})
	_, err := client.Send(context.Background(), &pb.SendRequest{})
	failed := wantError(t, err, codes.InvalidArgument)
	if failed.Message != "no" || failed.Reason != "SOME_REASON" || failed.Metadata["limit"] != "5" ||
		len(failed.Violations) != 1 || failed.Violations[0] != violation {
		t.Errorf("got %#v", failed)
	}
	if text := err.Error(); text != "InvalidArgument: no (SOME_REASON); message: is required" {
		t.Errorf("got %s", text)
	}
	if status.Code(err) != codes.InvalidArgument || len(status.Convert(err).Details()) != 2 {
		t.Errorf("gRPC does not understand %v", err)
	}
}

func TestAForeignErrorHasNoReason(t *testing.T) {
	foreign, err := anypb.New(&errdetails.ErrorInfo{Reason: "THEIRS", Domain: "elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	broker := startFakeBroker(t)
	broker.on("Send", func(proto.Message) (proto.Message, error) {
		return nil, status.FromProto(&statuspb.Status{Code: int32(codes.Aborted), Details: []*anypb.Any{
			{TypeUrl: "type.googleapis.com/who.Knows"}, foreign,
		}}).Err()
	})
	_, err = broker.client(t, ClientOptions{}).Send(context.Background(), &pb.SendRequest{})
	if failed := wantError(t, err, codes.Aborted); failed.Reason != "" || failed.Violations != nil {
		t.Errorf("got %#v", failed)
	}
}

func TestErrorsOfItems(t *testing.T) {
	from := status.Convert(refusal(t, codes.NotFound, "gone", "CONNECTION_NOT_FOUND")).Proto()
	failed := FromPublishError(&pb.PublishError{Code: from.Code, Message: from.Message, Details: from.Details})
	if failed.Code != codes.NotFound || failed.Reason != "CONNECTION_NOT_FOUND" || failed.Message != "gone" {
		t.Errorf("got %#v", failed)
	}
}

func TestTheAPIKeyIsSent(t *testing.T) {
	broker := startFakeBroker(t)
	broker.on("GetBrokerInfo", info(1))
	if err := getInfo(context.Background(), broker.client(t, ClientOptions{APIKey: "secret"})); err != nil {
		t.Fatal(err)
	}
	if got := broker.of("GetBrokerInfo")[0].metadata.Get("authorization"); len(got) != 1 || got[0] != "Bearer secret" {
		t.Errorf("got %q", got)
	}
}

func TestTheEpochOfTheNewestAnswerIsKept(t *testing.T) {
	broker := startFakeBroker(t)
	client := broker.client(t, ClientOptions{})
	for _, each := range []struct{ told, newest uint64 }{{5, 5}, {3, 3}, {9, 9}, {0, 9}} {
		broker.on("CloseSocketsForSession", func(proto.Message) (proto.Message, error) {
			return &pb.CloseSocketsForSessionResponse{Epoch: each.told}, nil
		})
		if _, err := client.CloseSocketsForSession(context.Background(), &pb.CloseSocketsForSessionRequest{}); err != nil {
			t.Fatal(err)
		}
		if got := client.NewestEpoch(); got != each.newest {
			t.Errorf("got %d, want %d", got, each.newest)
		}
	}
}

func (b *fakeBroker) Publish(stream pb.SocketBroker_PublishServer) error {
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		} else if len(request.Items) > 1000 {
			return status.Error(codes.InvalidArgument, "too many items")
		}
		if err := stream.Send(&pb.PublishResponse{Results: make([]*pb.PublishResult, len(request.Items))}); err != nil {
			return err
		}
	}
}

func TestStreamsEndWellOrWithOurError(t *testing.T) {
	client := startFakeBroker(t).client(t, ClientOptions{Timeout: time.Nanosecond}) // for streams there is none
	publish, err := client.Publish(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for items := 0; items < 3; items++ {
		if err := publish.Send(&pb.PublishRequest{Items: make([]*pb.PublishItem, items)}); err != nil {
			t.Fatal(err)
		}
		if response, err := publish.Recv(); err != nil || len(response.Results) != items {
			t.Fatal(response, err)
		}
	}
	if err := publish.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Recv(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if publish, err = client.Publish(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := publish.Send(&pb.PublishRequest{Items: make([]*pb.PublishItem, 1001)}); err != nil {
		t.Fatal(err)
	}
	_, err = publish.Recv()
	wantError(t, err, codes.InvalidArgument)

	watch, err := client.WatchConnections(context.Background(), &pb.WatchConnectionsRequest{})
	if err == nil {
		_, err = watch.Recv()
	}
	wantError(t, err, codes.Unimplemented)
}

func TestTLSFilesThatAreWrong(t *testing.T) {
	empty := t.TempDir() + "/empty.pem"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, files := range []TLSFiles{
		{CA: "/nonexistent"}, {CA: empty}, {Certificate: empty}, {PrivateKey: empty},
		{Certificate: empty, PrivateKey: empty},
	} {
		if _, err := TLSFromFiles(files); err == nil {
			t.Errorf("%+v: no error", files)
		}
	}
}
