package socketbroker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// take lets the handler of a message run.
func (a *attachment) take(message *pb.ClientMessage) {
	a.service.running.Add(1)
	sender := Sender{
		ConnectionID:  message.GetConnectionId(),
		Identity:      message.GetIdentity(),
		Endpoint:      message.GetEndpoint(),
		RemoteAddress: message.GetRemoteAddress(),
		RemotePort:    message.GetRemotePort(),
		Sequence:      message.GetSequence(),
		Traceparent:   message.GetTraceparent(),
		attachment:    a,
	}
	switch content := message.GetContent().(type) {
	case *pb.ClientMessage_Request:
		ctx, cancel := context.WithCancel(a.handlers)
		a.mutex.Lock()
		a.open[message.GetMessageId()] = cancel
		a.mutex.Unlock()
		request := newRequest(sender, content.Request, false)
		go a.handle(func() { a.reply(ctx, message.GetMessageId(), request) })
	case *pb.ClientMessage_Notification:
		request := newRequest(sender, content.Notification, true)
		go a.handle(func() { a.outcome(a.handlers, request) })
	case *pb.ClientMessage_Text:
		a.takeRaw(&Message{Sender: sender, Data: []byte(content.Text)})
	case *pb.ClientMessage_Binary:
		a.takeRaw(&Message{Sender: sender, Data: content.Binary, Binary: true})
	default: // it is of a later version
		a.handle(func() {})
	}
}

func newRequest(sender Sender, call *pb.JsonRpcCall, isNotification bool) *Request {
	request := &Request{Sender: sender, Method: call.GetMethod(), IsNotification: isNotification}
	if len(call.GetParamsJson()) > 0 {
		request.Params = call.GetParamsJson()
	}
	return request
}

func (a *attachment) takeRaw(message *Message) {
	s := a.service
	s.lanes.do(message.ConnectionID, func() {
		a.handle(func() {
			if err := guard(func() error { return s.onMessage(a.handlers, message) }); err != nil {
				s.logf("the handler failed for a message of connection %s: %v", message.ConnectionID, err)
			}
		})
	})
}

// handle runs a task, unless the stream was over before it began.
func (a *attachment) handle(task func()) {
	defer a.service.running.Done()
	defer a.service.ledger.done(messages)
	if a.handlers.Err() == nil {
		task()
	}
}

func (a *attachment) reply(ctx context.Context, id uint64, request *Request) {
	defer a.forget(id)
	if ctx.Err() != nil {
		return
	}
	reply := a.outcome(ctx, request)
	if ctx.Err() != nil {
		return
	}
	reply.MessageId = id
	// Not attached any more: the client has been told.
	_ = a.say(&pb.AttachRequest{Message: &pb.AttachRequest_Reply{Reply: reply}})
}

func (a *attachment) forget(id uint64) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.open[id]()
	delete(a.open, id)
}

func (a *attachment) outcome(ctx context.Context, request *Request) *pb.Reply {
	var reply *pb.Reply
	err := guard(func() (err error) {
		reply, err = a.answer(ctx, request)
		return err
	})
	if err == nil {
		return reply
	}
	// What comes of its end is no fault, nor is a call that ended with it.
	if ctx.Err() == nil || !errors.Is(err, ctx.Err()) && status.Code(err) != codes.Canceled {
		a.service.logf("the handler failed for %q of connection %s: %v", request.Method, request.ConnectionID, err)
	}
	return &pb.Reply{Outcome: &pb.Reply_Error{Error: internalError}}
}

// answer calls code of the application, and may panic. Its error is
// not for the client.
func (a *attachment) answer(ctx context.Context, request *Request) (*pb.Reply, error) {
	value, err := a.service.find(request.Method)(ctx, request)
	var meant *JSONRPCError
	if errors.As(err, &meant) {
		answer, err := meant.toProto()
		return &pb.Reply{Outcome: &pb.Reply_Error{Error: answer}}, err
	}
	if err != nil || request.IsNotification {
		return &pb.Reply{}, err
	}
	text, err := encode(value, maxLevels)
	return &pb.Reply{Outcome: &pb.Reply_ResultJson{ResultJson: text}}, err
}

// tellEvent calls the handler of an event that takes credit.
func tellEvent[T any](s *Service, handler func(context.Context, T), event T) {
	s.ledger.told(events)
	s.inOrder(func() {
		defer s.ledger.done(events)
		if handler != nil {
			handler(s.ctx, event)
		}
	})
}

// tell calls one of the hooks.
func tell(s *Service, hook func(context.Context)) {
	if hook != nil {
		s.inOrder(func() { hook(s.ctx) })
	}
}

// inOrder runs a task behind those that it was called with before.
func (s *Service) inOrder(task func()) {
	s.running.Add(1)
	s.lanes.do("", func() {
		defer s.running.Done()
		if s.ctx.Err() != nil {
			return
		}
		err := guard(func() error {
			task()
			return nil
		})
		if err != nil {
			s.logf("the handler of an event failed: %v", err)
		}
	})
}

// guard returns a panic of a handler, or its runtime.Goexit, as an error.
func guard(handler func() error) (err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		returned := false
		defer func() {
			if fault := recover(); !returned {
				err = fmt.Errorf("panic: %v\n%s", fault, debug.Stack())
			}
		}()
		err = handler()
		returned = true
	}()
	<-done
	return err
}
