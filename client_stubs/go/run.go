package socketbroker

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// The wait before the service attaches again.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 10 * time.Second
)

// Run serves until Drain, and attaches again whenever the broker is lost: it
// waits at random up to 0.1 s before it does, up to twice that after each
// failure, and never more than 10 s; then as long as there is no broker.
//
// It returns nil after Drain, and the context's error when that has ended, which
// ends the contexts of handlers, too, and waits for none. An *Error with
// INVALID_ARGUMENT, UNAUTHENTICATED or PERMISSION_DENIED says that there is no
// use in trying again: the broker does not take these options, does not know the
// caller, or does not let it; one with CANCELLED, that the Client is closed. Any
// other error is about the options. A service runs once.
func (s *Service) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer close(s.ended)
	start, err := s.makeStart()
	if err != nil {
		return err
	}
	if err := s.serve(ctx, start); err != nil {
		return err
	}
	idle := make(chan struct{})
	go func() {
		s.running.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-s.cut:
	case <-ctx.Done():
	}
	return nil
}

// Drain takes no more messages, lets handlers end, and returns when Run has. At
// the end of the context, or when Drain is called again, Run returns all the
// same, and the clients of what was open get the error -32001. It returns the
// context's error when that has ended it.
func (s *Service) Drain(ctx context.Context) error {
	s.mutex.Lock()
	ran := s.ran
	if !s.draining() {
		close(s.drain)
	} else {
		s.closeCut()
	}
	s.mutex.Unlock()
	if !ran {
		return nil
	}
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		s.mutex.Lock()
		s.closeCut()
		s.mutex.Unlock()
		<-s.ended
		return ctx.Err()
	}
}

func (s *Service) closeCut() {
	if !isClosed(s.cut) {
		close(s.cut)
	}
}

func (s *Service) draining() bool { return isClosed(s.drain) }

func isClosed(channel <-chan struct{}) bool {
	select {
	case <-channel:
		return true
	default:
		return false
	}
}

func (s *Service) begin(ctx context.Context) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.ran {
		return errors.New("the service runs, or has run, already")
	}
	s.ran, s.ctx = true, ctx
	return nil
}

// serve attaches again and again; it returns nil when the service is drained.
func (s *Service) serve(ctx context.Context, start *pb.AttachStart) error {
	for most := firstDelay; !s.draining(); {
		attachment := newAttachment(ctx, s)
		err := attachment.run(ctx, start)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case s.draining():
			return nil
		case isFinal(err, attachment.hasStarted()), s.client.conn.GetState() == connectivity.Shutdown:
			return err
		case hasReason(err, "EVENTS_LOST"):
			tell(s, s.onEventsLost)
		}
		if err == nil {
			err = errors.New("the broker has ended the stream")
		}
		if attachment.hasStarted() {
			most = firstDelay
		}
		wait := s.jitter(most)
		s.logf("not attached: %v; again in %v", err, wait.Round(time.Millisecond))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.drain:
		case <-ctx.Done():
		}
		timer.Stop()
		if most *= 2; most > maxDelay {
			most = maxDelay
		}
	}
	return nil
}

// Once it has started, the start was right: an INVALID_ARGUMENT is then about
// what one handler sent, such as more than its client may get.
func isFinal(err error, started bool) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Code {
	case codes.InvalidArgument:
		return !started
	case codes.Unauthenticated, codes.PermissionDenied:
		return true
	}
	return false
}
