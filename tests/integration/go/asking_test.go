package integration

import (
	"context"
	"encoding/json"
	"io"
	"testing"

	"google.golang.org/grpc/codes"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

// answers replies to one request of the broker with this member.
func (s *socket) answers(member string) {
	s.t.Helper()
	_, text, err := s.ReadMessage()
	must(s.t, err)
	var request struct{ ID, Method string }
	must(s.t, json.Unmarshal(text, &request))
	if request.Method != "who" {
		s.t.Fatalf("received %s", text)
	}
	s.send(`{"jsonrpc":"2.0","id":"%s",%s}`, request.ID, member)
}

func TestAServiceAsksItsClient(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	serve(t, client, socketbroker.ServiceOptions{}, func(s *socketbroker.Service) {
		s.On("pay", func(ctx context.Context, request *socketbroker.Request) (any, error) {
			response, err := s.Client().RequestConnection(ctx, &pb.RequestConnectionRequest{
				ConnectionId: request.ConnectionID, Method: "who", WantJson: true,
			})
			if err != nil {
				return nil, err
			}
			return json.RawMessage(response.GetReply().GetResultJson()), nil
		})
	})
	alice := b.join(t, client, "alice")
	alice.send(`{"jsonrpc":"2.0","id":1,"method":"pay"}`)
	alice.answers(`"result":{"name":"Alice"}`)
	alice.wants(`{"jsonrpc":"2.0","id":1,"result":{"name":"Alice"}}`)
	_, err := client.RequestConnection(ctx, &pb.RequestConnectionRequest{
		ConnectionId: "01a00000-0000-7000-8000-000000000000", Method: "who",
	})
	wantError(t, err, codes.NotFound, "CONNECTION_NOT_FOUND")
}

func TestManyClientsAreAsked(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	sockets := []*socket{b.join(t, client, "alice"), b.join(t, client, "bob")}
	stream, err := client.RequestFiltered(ctx, &pb.RequestFilteredRequest{
		Selector: &pb.RequestFilteredRequest_MatchAll{MatchAll: true}, Method: "who",
	})
	must(t, err)
	sockets[0].answers(`"result":"a"`)
	sockets[1].answers(`"error":{"code":5,"message":"no"}`)
	results, faults := 0, 0
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			break
		}
		must(t, err)
		switch outcome := response.GetReply().GetOutcome().(type) {
		case *pb.ClientReply_Result:
			if outcome.Result.GetStringValue() == "a" {
				results++
			}
		case *pb.ClientReply_ErrorJson:
			if outcome.ErrorJson == `{"code":5,"message":"no"}` {
				faults++
			}
		}
	}
	if results != 1 || faults != 1 {
		t.Errorf("%d results, %d errors", results, faults)
	}
}
