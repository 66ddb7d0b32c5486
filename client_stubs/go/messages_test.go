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

	"google.golang.org/protobuf/proto"

	pb "socketbroker.dev/go/socketbrokerv1"
)

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

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("a fault of its data") }

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
		{"a nil *JSONRPCError", func() (any, error) {
			var none *JSONRPCError
			return 1, none
		}, failure(0, -32603, "Internal error", ""), "nil *JSONRPCError"},
		{"data that panics", func() (any, error) { return nil, &JSONRPCError{Data: panics{}} },
			failure(0, -32603, "Internal error", ""), "a fault of its data"},
		{"too long", func() (any, error) { return strings.Repeat("x", 3<<20), nil },
			failure(0, -32603, "Internal error", ""), "3145730 bytes, at most 3145728"},
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
		"\"\xff\"": "not UTF-8", `"\ud83d"`: "half a surrogate", `{"\uDE00":1}`: "half a surrogate",
		`"\ud83dx\ude00"`: "half a surrogate", `["\ud83d","\ude00"]`: "half a surrogate",
		`"\ud83d\ude00\\ud83d\\\ud83d\uDE00 \u00e9"`: "", `[[[1]]]`: "more than 2 levels", `{"a":[{}]}`: "more than 2 levels",
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
		long := make([]byte, 3<<20+1)
		for _, err := range []error{message.SendText("\xff"), message.SendText(string(long)), message.SendBinary(long)} {
			if err == nil {
				t.Error("no error")
			}
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
