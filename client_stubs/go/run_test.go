package socketbroker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "socketbroker.dev/go/socketbrokerv1"
)

func TestEventsAreToldInOrder(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	told := make(chan string, 100)
	r.OnStarted(func(context.Context) { told <- "started" })
	r.OnEventsLost(func(context.Context) { told <- "lost" })
	r.OnAdmitted(func(_ context.Context, c *pb.Connection) { told <- "admitted " + c.GetConnectionId() })
	r.OnUpdated(func(_ context.Context, c *pb.Connection) {
		told <- "updated " + c.GetConnectionId()
		panic("a fault")
	})
	r.OnClosed(func(_ context.Context, closed *pb.ConnectionClosed) { told <- fmt.Sprint("closed ", closed.GetCode()) })
	stream := r.attached(t)
	connection := &pb.Connection{ConnectionId: "c1"}
	stream.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_ConnectionAdmitted{
		ConnectionAdmitted: &pb.ConnectionAdmitted{Connection: connection}}})
	stream.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_ConnectionUpdated{
		ConnectionUpdated: &pb.ConnectionUpdated{Connection: connection}}})
	stream.tell(t, &pb.AttachResponse{Message: &pb.AttachResponse_ConnectionClosed{
		ConnectionClosed: &pb.ConnectionClosed{Connection: connection, Code: 4001}}})
	stream.end <- refusal(t, codes.Aborted, "too slow", "EVENTS_LOST")
	r.broker.next(t).started(t)
	for _, want := range []string{"started", "admitted c1", "updated c1", "closed 4001", "lost", "started"} {
		if got := receive(t, told); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	r.wantLog(t, "a fault")
}

func TestWaitsLongerAndLongerUntilItIsAttached(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.On("*", echo)
	r.run(t)
	for i := 0; i < 9; i++ {
		r.broker.next(t).end <- status.Error(codes.Unavailable, "not now")
	}
	stream := r.broker.next(t)
	for _, want := range []int{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000} {
		if got := receive(t, r.waits); got != time.Duration(want)*time.Millisecond {
			t.Errorf("got %v, want %d ms", got, want)
		}
	}
	stream.started(t)
	stream.request(t, 1, "m", "")
	stream.reply(t)
	stream.end <- nil // well, but nobody wanted it
	r.wantLog(t, "the broker has ended the stream")
	r.broker.next(t)
	if got := receive(t, r.waits); got != 100*time.Millisecond {
		t.Errorf("got %v", got)
	}
}

func TestTheWaitIsRandom(t *testing.T) {
	service := NewService(nil, ServiceOptions{})
	seen := map[time.Duration]bool{}
	for i := 0; i < 100; i++ {
		wait := service.jitter(time.Second)
		if wait < 0 || wait >= time.Second {
			t.Fatalf("got %v", wait)
		}
		seen[wait] = true
	}
	if len(seen) < 90 {
		t.Errorf("%d different waits of 100", len(seen))
	}
}

func TestWhatIsOfNoUseIsNotTriedAgain(t *testing.T) {
	for _, code := range []codes.Code{codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied} {
		r := newRunning(t, ServiceOptions{})
		r.On("*", echo)
		r.run(t)
		r.broker.next(t).end <- refusal(t, code, "never", "", FieldViolation{"f", "d"})
		if failed := wantError(t, receive(t, r.result), code); len(failed.Violations) != 1 {
			t.Errorf("got %v", failed)
		}
		if len(r.waits) > 0 {
			t.Errorf("%v: tried again", code)
		}
	}
}

func TestAClosedClientIsOfNoUse(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.On("*", echo)
	r.attached(t)
	if err := r.Client().Close(); err != nil {
		t.Error(err)
	}
	wantError(t, receive(t, r.result), codes.Canceled)
}

func TestAWrongSendIsNotAWrongStart(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	r.On("*", echo)
	stream := r.attached(t)
	r.wantLog(t, "attached")
	stream.end <- status.Error(codes.InvalidArgument, "too long")
	r.broker.next(t).started(t)
}

func TestTheEndOfTheStreamCancelsHandlers(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	ended := make(chan error, 2)
	r.On("m", func(ctx context.Context, request *Request) (any, error) {
		if err := request.Notify("begun", nil); err != nil {
			ended <- err
		}
		<-ctx.Done()
		for { // the stream may be over a moment later
			if err := request.Notify("late", nil); err != nil {
				ended <- err
				return nil, nil
			}
		}
	})
	stream := r.attached(t)
	stream.request(t, 1, "m", "")
	stream.hear(t)
	stream.end <- status.Error(codes.Unavailable, "gone")
	if err := receive(t, ended); err != ErrNotAttached {
		t.Errorf("got %v", err)
	}
	again := r.broker.next(t)
	again.started(t)
	again.request(t, 2, "other", "")
	wantProto(t, again.reply(t), failure(2, -32603, "Internal error", "")) // and no reply to 1
}

// drains calls Drain, and waits until the broker has heard of it.
func (r *running) drains(t *testing.T, ctx context.Context, stream *fakeStream) chan error {
	t.Helper()
	drained := make(chan error, 1)
	go func() { drained <- r.Drain(ctx) }()
	if said := stream.hear(t); said.GetDrain() == nil {
		t.Fatalf("got %v, want a drain", said)
	}
	return drained
}

func TestADrainLetsHandlersEnd(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	begun, end := make(chan struct{}, 2), make(chan struct{})
	over := make(chan error, 1)
	r.On("request", func(context.Context, *Request) (any, error) {
		begun <- struct{}{}
		<-end
		return "done", nil
	})
	r.On("notification", func(ctx context.Context, request *Request) (any, error) {
		begun <- struct{}{}
		<-end
		for request.Notify("m", nil) == nil { // the end of the stream does not wait for it
		}
		over <- ctx.Err()
		<-end
		return nil, nil
	})
	stream := r.attached(t)
	stream.request(t, 1, "request", "")
	stream.notification(t, 2, "notification")
	receive(t, begun)
	receive(t, begun)
	drained := r.drains(t, context.Background(), stream)
	end <- struct{}{}
	end <- struct{}{}
	for stream.hear(t).GetReply() == nil {
	}
	stream.end <- nil
	if err := receive(t, over); err != nil {
		t.Errorf("its context has ended: %v", err)
	}
	select {
	case <-r.result:
		t.Fatal("Run returned before the handler")
	case <-time.After(20 * time.Millisecond):
	}
	close(end)
	for _, err := range []error{receive(t, drained), receive(t, r.result)} {
		if err != nil {
			t.Error(err)
		}
	}
	if len(r.waits) > 0 {
		t.Error("it attached again")
	}
}

// Runs a service with a handler that does not end, and drains it.
func stuck(t *testing.T, ctx context.Context) (*running, chan error) {
	r := newRunning(t, ServiceOptions{})
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	begun := make(chan struct{})
	r.On("m", func(context.Context, *Request) (any, error) {
		close(begun)
		<-release
		return nil, nil
	})
	stream := r.attached(t)
	stream.request(t, 1, "m", "")
	receive(t, begun)
	return r, r.drains(t, ctx, stream)
}

func TestASecondDrainCutsTheFirst(t *testing.T) {
	r, drained := stuck(t, context.Background())
	if err := r.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	for _, err := range []error{receive(t, drained), receive(t, r.result)} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestADrainHasATimeLimit(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, drained := stuck(t, ctx)
	cancel()
	if err := receive(t, drained); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if err := receive(t, r.result); err != nil {
		t.Error(err)
	}
}

func TestADrainWaitsForNoBroker(t *testing.T) {
	for _, before := range []bool{true, false} {
		client, err := NewClient("unix:"+t.TempDir()+"/nobody", ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		logged := make(chan string, 100)
		service := NewService(client, ServiceOptions{
			Logf: func(format string, arguments ...any) { logged <- fmt.Sprintf(format, arguments...) },
		})
		service.patience = time.Millisecond
		service.On("*", echo)
		if before {
			if err := service.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		}
		result := make(chan error, 1)
		go func() { result <- service.Run(context.Background()) }()
		if !before {
			if line := receive(t, logged); line[:len("not attached yet, and waiting: Unavailable")] != "not attached yet, and waiting: Unavailable" {
				t.Errorf("it says %s", line)
			}
			if err := service.Drain(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := receive(t, result); err != nil {
			t.Error(err)
		}
	}
}

func TestTheContextEndsIt(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	cancelled := make(chan struct{})
	r.On("m", func(ctx context.Context, request *Request) (any, error) {
		_ = request.Notify("begun", nil)
		<-ctx.Done()
		close(cancelled)
		return nil, nil
	})
	stream := r.attached(t)
	stream.request(t, 1, "m", "")
	stream.hear(t)
	r.cancel()
	if err := receive(t, r.result); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	receive(t, cancelled)
}

// Who sends more than the stream takes waits, and neither for ever nor does it
// keep the service from being cut.
func TestAStreamThatIsFullIsWaitedFor(t *testing.T) {
	r := newRunning(t, ServiceOptions{})
	sent := make(chan int, 1)
	r.On("flood", func(_ context.Context, request *Request) (any, error) {
		params := []string{string(make([]byte, 1<<16))}
		for n := 0; ; n++ {
			if err := request.Notify("m", params); err != nil {
				sent <- n
				return nil, nil
			}
		}
	})
	stream := r.attached(t)
	stream.request(t, 1, "flood", "")
	stream.hear(t)
	drained, cut := make(chan error, 1), make(chan error, 1)
	go func() { drained <- r.Drain(context.Background()) }()
	<-r.drain
	go func() { cut <- r.Drain(context.Background()) }()
	receive(t, drained)
	receive(t, cut)
	if n := receive(t, sent); n > 1000 {
		t.Errorf("%d messages of 400 KB were taken, and read by nobody", n)
	}
}
