package socketbroker

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// DefaultTimeout is how long a call may take whose context has no deadline.
const DefaultTimeout = 10 * time.Second

const (
	// What a call of RequestConnection may take beyond the time of its client.
	askingTime = 5 * time.Second
	// The answer of Publish can have more than the 4 MiB of gRPC. The broker bounds
	// what it says.
	maxAnswerBytes = math.MaxInt32
)

// ClientOptions says how a Client connects and calls. The zero value is for a
// broker on this machine.
type ClientOptions struct {
	// How to connect, such as what TLSFromFiles returns. Nil: in plain text, which
	// is for the loopback interface and Unix-domain sockets.
	Credentials credentials.TransportCredentials
	// Printable ASCII. Sent with every call; without Credentials in plain text.
	// Empty: none.
	APIKey string
	// How long a call may take whose context has no deadline, the wait for the
	// connection included. Streams have no limit, and RequestConnection has the
	// timeout of its request and 5 s when that is more. 0: DefaultTimeout.
	Timeout time.Duration
	// A call fails with UNAVAILABLE as soon as an attempt to connect has failed.
	// Else it waits for the connection until its deadline, and fails then with
	// DEADLINE_EXCEEDED. For one call: grpc.WaitForReady.
	FailFast bool
	// Whatever else gRPC has to set.
	DialOptions []grpc.DialOption
}

// Client has one method for each RPC, which takes its request, a context and
// options of gRPC, and returns its response. An error is an *Error, on streams
// too, or io.EOF at the good end of one.
//
// One client serves a whole program: any goroutine may use it. Of a stream, one
// goroutine may call Send and another one Recv. A stream lives until Recv has
// returned an error or its context is cancelled: see to either.
type Client struct {
	pb.SocketBrokerClient

	conn        *grpc.ClientConn
	timeout     time.Duration
	newestEpoch atomic.Uint64
}

// NewClient does not connect yet. The target is what gRPC takes:
// "127.0.0.1:50051", "dns:///broker:50051", "unix:/run/socket-broker.sock". The
// error says what is wrong with the target or the options.
func NewClient(target string, options ClientOptions) (*Client, error) {
	// Else each call would fail, as if there were a fault in gRPC.
	for _, character := range []byte(options.APIKey) {
		if character < ' ' || character > '~' {
			return nil, errors.New("APIKey has a byte that is not printable ASCII, such as the end of a line")
		}
	}
	client := &Client{timeout: options.Timeout}
	if client.timeout == 0 {
		client.timeout = DefaultTimeout
	}
	transport := options.Credentials
	if transport == nil {
		transport = insecure.NewCredentials()
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(!options.FailFast), grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithChainUnaryInterceptor(client.interceptCall),
		grpc.WithChainStreamInterceptor(interceptStream),
		// Else gRPC waits up to two minutes between attempts, and calls fail that
		// wait for a broker that is there again.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: DefaultTimeout,
		}),
		// A stream notices in 40 s that the broker's machine is gone. The broker takes
		// a ping every 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
	if options.APIKey != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(apiKey{options.APIKey, options.Credentials != nil}))
	}
	conn, err := grpc.NewClient(target, append(dial, options.DialOptions...)...)
	if err != nil {
		return nil, err
	}
	client.conn = conn
	client.SocketBrokerClient = pb.NewSocketBrokerClient(conn)
	return client, nil
}

// Close closes the connection; calls that are under way fail with CANCELLED.
func (c *Client) Close() error { return c.conn.Close() }

// Conn is the connection, for other services of the broker, such as
// grpc.health.v1.Health.
func (c *Client) Conn() *grpc.ClientConn { return c.conn }

// NewestEpoch is the epoch of the newest answer that had one, 0 when there was
// none: fit as VerifiedAtEpoch for a credential that is looked up from now on.
func (c *Client) NewestEpoch() uint64 { return c.newestEpoch.Load() }

// What every call gets that is no stream.
func (c *Client) interceptCall(ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeoutOf(request))
		defer cancel()
	}
	if err := invoke(ctx, method, request, response, conn, options...); err != nil {
		return fromRPC(err)
	}
	// Also a lower one, which is safe: the broker may be another one.
	if answer, ok := response.(interface{ GetEpoch() uint64 }); ok && answer.GetEpoch() != 0 {
		c.newestEpoch.Store(answer.GetEpoch())
	}
	return nil
}

func (c *Client) timeoutOf(request any) time.Duration {
	if asking, is := request.(*pb.RequestConnectionRequest); is {
		if timeout := asking.GetTimeout().AsDuration() + askingTime; timeout > c.timeout {
			return timeout
		}
	}
	return c.timeout
}

func interceptStream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(ctx, desc, conn, method, options...)
	if err != nil {
		return nil, fromRPC(err)
	}
	return clientStream{stream}, nil
}

// A stream whose errors are ours.
type clientStream struct{ grpc.ClientStream }

func (s clientStream) SendMsg(message any) error { return fromRPC(s.ClientStream.SendMsg(message)) }
func (s clientStream) RecvMsg(message any) error { return fromRPC(s.ClientStream.RecvMsg(message)) }
func (s clientStream) CloseSend() error          { return fromRPC(s.ClientStream.CloseSend()) }
