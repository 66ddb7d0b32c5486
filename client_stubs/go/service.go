package socketbroker

import (
	"context"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"sort"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	pb "socketbroker.dev/go/socketbrokerv1"
)

const (
	defaultConcurrency = 64
	maxMessages        = 100_000
	maxHandshakes      = 10_000
	// So many events may wait for their handler.
	eventsCredit = 1000
)

// ServiceOptions says what a Service takes. The zero value is: the messages of
// all connections of the namespace "default".
type ServiceOptions struct {
	// Where. Empty: "default".
	Namespace string
	// So many messages are handled at once, 1 to 100,000; more wait in the broker,
	// or go to other services. 0: 64.
	Concurrency int
	// The same for clients that are judged, 1 to 10,000. 0: 64.
	HandshakeConcurrency int
	// What stays with the service that got the first of it: nothing, the messages
	// of a connection for each pattern (pb.AttachMessages_STICKY_CONNECTION), or
	// those of an account (pb.AttachMessages_STICKY_ACCOUNT).
	Sticky pb.AttachMessages_Sticky
	// A request may be done twice: when this service is lost before it has replied,
	// another one gets it. Else the client gets the error -32001.
	Idempotent bool
	// Takes messages from the connections that this AIP-160 text matches. Empty:
	// from all.
	Filter string
	// The same for OnAdmitted, OnUpdated and OnClosed.
	EventsFilter string
	// Is told in one line what nobody else is: handlers that failed, and streams
	// that ended. Nil: log.Printf.
	Logf func(format string, arguments ...any)
}

// Service is a program that clients talk to, attached to the broker while it
// runs. First it is told what to do, by the methods On...; then Run does it. A
// handler runs in a goroutine of its own, and may be nil no more than a pattern
// may have two: both panic.
type Service struct {
	client  *Client
	options ServiceOptions
	logf    func(format string, arguments ...any)

	methods      map[string]Handler // by the whole name
	prefixes     map[string]Handler // by what goes before the `*`
	onMessage    MessageHandler
	handshake    HandshakeHandler
	onAdmitted   func(context.Context, *pb.Connection)
	onUpdated    func(context.Context, *pb.Connection)
	onClosed     func(context.Context, *pb.ConnectionClosed)
	onStarted    func(context.Context)
	onEventsLost func(context.Context)

	ctx     context.Context // of Run
	ledger  *ledger
	lanes   lanes
	running sync.WaitGroup // handlers

	mutex sync.Mutex
	ran   bool
	drain chan struct{} // closed by the first Drain
	cut   chan struct{} // closed when it is not waited for handlers any more
	ended chan struct{} // closed when Run returns

	// For tests.
	jitter   func(most time.Duration) time.Duration
	patience time.Duration // until it is said that there is no broker
}

// NewService does not attach yet. The client's caller needs the role listen,
// send for what handlers send, and bind for OnHandshake.
func NewService(client *Client, options ServiceOptions) *Service {
	logf := options.Logf
	if logf == nil {
		logf = func(format string, arguments ...any) { log.Printf("socketbroker: "+format, arguments...) }
	}
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	return &Service{
		client:   client,
		options:  options,
		logf:     logf,
		methods:  map[string]Handler{},
		prefixes: map[string]Handler{},
		drain:    make(chan struct{}),
		cut:      make(chan struct{}),
		ended:    make(chan struct{}),
		jitter:   func(most time.Duration) time.Duration { return time.Duration(random.Int63n(int64(most))) },
		patience: 5 * time.Second,
	}
}

// Client is for calls of handlers.
func (s *Service) Client() *Client { return s.client }

// On takes requests and notifications of the methods that the pattern matches: a
// method, all with a prefix such as "orders.*", or "*". A whole name goes before
// a prefix, and a longer prefix before a shorter one.
//
// Messages of one connection may be handled at the same time, unless its
// endpoint has the message_order STRICT.
func (s *Service) On(pattern string, handler Handler) {
	handlers, key := s.methods, pattern
	if prefix := strings.TrimSuffix(pattern, "*"); prefix != pattern {
		handlers, key = s.prefixes, prefix
	}
	if _, has := handlers[key]; has {
		panic(fmt.Sprintf("socketbroker: %q has a handler already", pattern))
	}
	s.check(handler != nil)
	handlers[key] = handler
}

// OnMessage takes all messages of a namespace with framing RAW, those of one
// connection one after another.
func (s *Service) OnMessage(handler MessageHandler) {
	s.check(handler != nil)
	s.onMessage = handler
}

// OnHandshake judges clients that connect to endpoints with the way ATTACH.
func (s *Service) OnHandshake(handler HandshakeHandler) {
	s.check(handler != nil)
	s.handshake = handler
}

// OnAdmitted hears of admitted connections. The handlers of events run one at a
// time, in the order in which the broker told them. Between two attachments
// nothing is told.
func (s *Service) OnAdmitted(handler func(ctx context.Context, connection *pb.Connection)) {
	s.check(handler != nil)
	s.onAdmitted = handler
}

// OnUpdated hears of changed identities: see OnAdmitted.
func (s *Service) OnUpdated(handler func(ctx context.Context, connection *pb.Connection)) {
	s.check(handler != nil)
	s.onUpdated = handler
}

// OnClosed hears of connections that end: see OnAdmitted.
func (s *Service) OnClosed(handler func(ctx context.Context, closed *pb.ConnectionClosed)) {
	s.check(handler != nil)
	s.onClosed = handler
}

// OnStarted is called each time the service is attached, before its first event:
// the place to list connections for who keeps track of them.
func (s *Service) OnStarted(hook func(ctx context.Context)) {
	s.check(hook != nil)
	s.onStarted = hook
}

// OnEventsLost is called when events were handled too slowly and are lost. The
// service attaches again at once, and OnStarted tells so.
func (s *Service) OnEventsLost(hook func(ctx context.Context)) {
	s.check(hook != nil)
	s.onEventsLost = hook
}

// check panics when the service cannot be told more.
func (s *Service) check(has bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !has {
		panic("socketbroker: the handler is nil")
	}
	if s.ran {
		panic("socketbroker: the service runs, or has run, already")
	}
}

func (s *Service) find(method string) Handler {
	if handler, is := s.methods[method]; is {
		return handler
	}
	for size := len(method); size >= 0; size-- {
		if handler, is := s.prefixes[method[:size]]; is {
			return handler
		}
	}
	return func(context.Context, *Request) (any, error) { return nil, errors.New("nobody asked for this method") }
}

func (s *Service) makeStart() (*pb.AttachStart, error) {
	options := s.options
	for _, each := range []struct {
		name       string
		value, max int
	}{
		{"Concurrency", options.Concurrency, maxMessages},
		{"HandshakeConcurrency", options.HandshakeConcurrency, maxHandshakes},
	} {
		if each.value < 0 || each.value > each.max {
			return nil, fmt.Errorf("%s is %d, 1 to %d are allowed, or 0 for %d", each.name, each.value, each.max, defaultConcurrency)
		}
	}
	s.ledger = newLedger([kinds]int{
		messages: orDefault(options.Concurrency), handshakes: orDefault(options.HandshakeConcurrency), events: eventsCredit,
	})
	start := &pb.AttachStart{Handshakes: s.handshake != nil}
	if options.Namespace != "" {
		start.Namespace = &options.Namespace
	}
	if s.onAdmitted != nil || s.onUpdated != nil || s.onClosed != nil {
		start.Selector = &pb.AttachStart_MatchAll{MatchAll: true}
		if options.EventsFilter != "" {
			start.Selector = &pb.AttachStart_Filter{Filter: options.EventsFilter}
		}
	}
	methods := make([]string, 0, len(s.methods)+len(s.prefixes))
	for method := range s.methods {
		methods = append(methods, method)
	}
	for prefix := range s.prefixes {
		methods = append(methods, prefix+"*")
	}
	sort.Strings(methods)
	if len(methods) > 0 && s.onMessage != nil {
		return nil, errors.New("On and OnMessage exclude each other: a namespace has one framing")
	}
	if len(methods) > 0 || s.onMessage != nil {
		start.Messages = &pb.AttachMessages{Methods: methods, Sticky: options.Sticky, Idempotent: options.Idempotent}
		if options.Filter != "" {
			start.Messages.Selector = &pb.AttachMessages_Filter{Filter: options.Filter}
		}
	}
	// What is not UTF-8 would be tried again and again.
	if _, err := proto.Marshal(start); err != nil {
		return nil, fmt.Errorf("the options or a pattern: %w", err)
	}
	return start, nil
}

func orDefault(concurrency int) int {
	if concurrency == 0 {
		return defaultConcurrency
	}
	return concurrency
}
