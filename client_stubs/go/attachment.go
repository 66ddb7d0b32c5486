package socketbroker

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// So many requests wait for the stream; then who has more waits.
const maxOutgoing = 64

// One Attach stream of a service, from its start to its end.
type attachment struct {
	service *Service
	stream  pb.SocketBroker_AttachClient
	opened  chan struct{} // closed when there is a connection, before the start is sent
	started chan struct{} // closed when the broker has said so
	over    chan struct{} // closed when nothing can be said any more
	out     chan *pb.AttachRequest

	handlers context.Context // of all handlers
	cancel   context.CancelFunc

	mutex sync.Mutex
	open  map[uint64]context.CancelFunc // requests, by their message_id
}

func newAttachment(ctx context.Context, service *Service) *attachment {
	a := &attachment{
		service: service,
		opened:  make(chan struct{}),
		started: make(chan struct{}),
		over:    make(chan struct{}),
		out:     make(chan *pb.AttachRequest, maxOutgoing),
		open:    map[uint64]context.CancelFunc{},
	}
	a.handlers, a.cancel = context.WithCancel(ctx)
	return a
}

// run returns when the stream has ended: nil when all is said.
func (a *attachment) run(ctx context.Context, start *pb.AttachStart) error {
	ctx, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(ctx, stop)
	}()
	err := a.talk(ctx, start)
	if err != nil || !a.service.draining() {
		a.cancel()
	}
	close(a.over)
	stop()
	<-watched
	return err
}

func (a *attachment) hasStarted() bool { return isClosed(a.started) }

// say puts a request behind the others.
func (a *attachment) say(request *pb.AttachRequest) error {
	if isClosed(a.over) { // else either may be chosen
		return ErrNotAttached
	}
	select {
	case a.out <- request:
		return nil
	case <-a.over:
		return ErrNotAttached
	}
}

// watch sees to drains.
func (a *attachment) watch(ctx context.Context, stop context.CancelFunc) {
	patience := time.AfterFunc(a.service.patience, func() { a.complain(ctx) })
	defer patience.Stop()
	select {
	case <-a.opened:
		patience.Stop()
	case <-a.service.drain:
		if !isClosed(a.opened) {
			stop() // it may wait for a broker for ever, and was given nothing
			return
		}
	case <-ctx.Done():
		return
	}
	var out chan<- *pb.AttachRequest // nil until there is a drain to say
	drain := a.service.drain
	for {
		select {
		case <-drain:
			drain, out = nil, a.out
		case out <- &pb.AttachRequest{Message: &pb.AttachRequest_Drain{Drain: &pb.AttachDrain{}}}:
			out = nil
		case <-a.service.cut:
			stop()
			return
		case <-ctx.Done():
			return
		}
	}
}

// complain tells why there is no connection, which a stream that waits for one
// does not.
func (a *attachment) complain(ctx context.Context) {
	_, err := a.service.client.GetBrokerInfo(ctx, &pb.GetBrokerInfoRequest{}, grpc.WaitForReady(false))
	var failed *Error
	if errors.As(err, &failed) && failed.Code == codes.Unavailable {
		a.service.logf("not attached yet, and waiting: %v", err)
	}
}

func (a *attachment) talk(ctx context.Context, start *pb.AttachStart) error {
	stream, err := a.service.client.Attach(ctx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	a.stream = stream
	close(a.opened)
	first := copied(start)
	first.Credit = a.service.ledger.start()
	if err := stream.Send(&pb.AttachRequest{Message: &pb.AttachRequest_Start{Start: first}}); err != nil && err != io.EOF {
		return err
	}
	writing, stop := context.WithCancel(ctx)
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		a.write(writing)
	}()
	err = a.read()
	stop()
	<-wrote
	return err
}

// write sends what is to be said, and credit in between. Who cannot be sent to
// is not read from either, and read says why.
func (a *attachment) write(ctx context.Context) {
	for {
		var request *pb.AttachRequest
		if due := a.service.ledger.take(len(a.out) == 0); due != nil {
			request = &pb.AttachRequest{Message: &pb.AttachRequest_Credit{Credit: due}}
		} else {
			select {
			case request = <-a.out:
			case <-a.service.ledger.news:
				continue
			case <-ctx.Done():
				return
			}
		}
		if a.stream.Send(request) != nil {
			return
		}
	}
}

func (a *attachment) read() error {
	for {
		told, err := a.stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		a.hear(told)
	}
}

func (a *attachment) hear(told *pb.AttachResponse) {
	s := a.service
	switch told := told.GetMessage().(type) {
	case *pb.AttachResponse_Started:
		if !a.hasStarted() {
			close(a.started)
			s.logf("attached")
			tell(s, s.onStarted)
		}
	case *pb.AttachResponse_HandshakeOffer:
		s.ledger.told(handshakes)
		s.running.Add(1)
		go func() {
			defer s.running.Done()
			defer s.ledger.done(handshakes)
			a.judge(told.HandshakeOffer)
		}()
	case *pb.AttachResponse_ConnectionAdmitted:
		tellEvent(s, s.onAdmitted, told.ConnectionAdmitted.GetConnection())
	case *pb.AttachResponse_ConnectionUpdated:
		tellEvent(s, s.onUpdated, told.ConnectionUpdated.GetConnection())
	case *pb.AttachResponse_ConnectionClosed:
		tellEvent(s, s.onClosed, told.ConnectionClosed)
	case *pb.AttachResponse_ClientMessage:
		s.ledger.told(messages)
		a.take(told.ClientMessage)
	case *pb.AttachResponse_RequestCancelled:
		a.mutex.Lock()
		defer a.mutex.Unlock()
		if cancel, is := a.open[told.RequestCancelled.GetMessageId()]; is {
			cancel()
		}
	}
}
