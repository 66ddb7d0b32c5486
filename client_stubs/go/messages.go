package socketbroker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// ErrNotAttached is what is returned for a message to a client when the stream
// that the client's message came by is over.
var ErrNotAttached = errors.New("the service is not attached to the broker any more")

// Sender is where a message of a client came from.
type Sender struct {
	// The connection, for calls of the Client.
	ConnectionID string
	// Who that belongs to, as it was when the message came. Not to be changed.
	Identity *pb.Identity
	// The configured path that the client connected to.
	Endpoint string
	// The client's IP address and port.
	RemoteAddress string
	RemotePort    uint32
	// Counts the messages of this connection, from 1, in the order in which they
	// came. Those that the broker answered itself have numbers, too.
	Sequence uint64
	// The W3C trace context that the client gave. Empty: it gave none.
	Traceparent string

	attachment *attachment
}

// Request is a JSON-RPC 2.0 request or notification of a client.
type Request struct {
	Sender
	// The method.
	Method string
	// An object or an array, byte for byte as the client sent it. Nil: there are
	// none.
	Params json.RawMessage
	// Nobody waits for a reply.
	IsNotification bool
}

// Decode is json.Unmarshal of the params. The error is a *JSONRPCError, -32602
// "Invalid params", which a handler may return as it is. No params leave the
// target as it was.
func (r *Request) Decode(target any) error {
	if r.Params == nil {
		return nil
	}
	if err := json.Unmarshal(r.Params, target); err != nil {
		return &JSONRPCError{Code: codeInvalidParams, Message: "Invalid params"}
	}
	return nil
}

// Notify sends a notification to the connection of the request; it arrives
// before the reply. Any goroutine may call it. It needs the role send, waits
// while the stream to the broker is full, and a client that is gone gets
// nothing, and nobody is told.
//
// The method has 1 to 256 bytes and does not begin with "rpc."; the params are
// encoded by encoding/json and must be an object, an array or nil for none, at
// most 31 levels deep and 3 MiB long. The error says what is wrong with these, or
// is ErrNotAttached. What is longer than the endpoint's max_message_bytes is
// dropped, and nobody is told.
func (r *Request) Notify(method string, params any) error {
	if err := checkMethod(method); err != nil {
		return err
	}
	text, err := encodeParams(params)
	if err != nil {
		return err
	}
	notification := &pb.JsonRpcNotification{Method: method}
	if text != nil {
		notification.Params = &pb.JsonRpcNotification_ParamsJson{ParamsJson: text}
	}
	return r.send(&pb.Message{Content: &pb.Message_Notification{Notification: notification}})
}

// Message is a text or binary message of a client of a namespace with framing
// RAW.
type Message struct {
	Sender
	// What the client sent.
	Data []byte
	// Whether it is binary. Else Data is UTF-8.
	Binary bool
}

// SendText sends a text message to the connection of the message, in order, and
// under the conditions of Request.Notify. It is UTF-8, of at most 3 MiB.
func (m *Message) SendText(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("the text is not UTF-8")
	}
	if err := checkSize(len(text)); err != nil {
		return fmt.Errorf("the text has %w", err)
	}
	return m.send(&pb.Message{Content: &pb.Message_Text{Text: text}})
}

// SendBinary sends a binary message: see SendText.
func (m *Message) SendBinary(data []byte) error {
	if err := checkSize(len(data)); err != nil {
		return fmt.Errorf("the data has %w", err)
	}
	return m.send(&pb.Message{Content: &pb.Message_Binary{Binary: data}})
}

func (s *Sender) send(message *pb.Message) error {
	return s.attachment.say(&pb.AttachRequest{Message: &pb.AttachRequest_Send{
		Send: &pb.ClientSend{ConnectionId: s.ConnectionID, Message: message},
	}})
}

// Handler answers a request of a client. The result is encoded by encoding/json,
// at most 31 levels deep and 3 MiB long; a json.RawMessage is sent as it is,
// without blanks. To answer with an error it returns a *JSONRPCError. Of any other
// error, and of a panic, the client gets -32603, "Internal error", and nothing of
// its text, which is logged. Nobody gets what comes of a notification.
//
// The context ends when nobody waits for the reply any more: the client
// cancelled the request or is gone, the reply has taken too long, or the broker
// is lost. What the handler still returns is dropped.
type Handler func(ctx context.Context, request *Request) (any, error)

// MessageHandler takes a message with framing RAW. Its error is logged, and no
// more. The context ends when the broker is lost.
type MessageHandler func(ctx context.Context, message *Message) error
